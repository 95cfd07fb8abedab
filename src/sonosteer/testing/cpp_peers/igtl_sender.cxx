// Serves numbered pictures by Debian's libopenigtlink: igtl_sender PORT HZ COUNT WIDTH HEIGHT [silent]
// The number of a picture is in its first four bytes, little-endian. Every tenth comes with a TRANSFORM. Packing, time
// stamps and check sums are the library's. It says "sent N" at the end, and waits until it is spoken to or left alone.
#include <igtlImageMessage.h>
#include <igtlServerSocket.h>
#include <igtlTimeStamp.h>
#include <igtlTransformMessage.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  const int port = std::atoi(argv[1]), count = std::atoi(argv[3]);
  const double hz = std::atof(argv[2]);
  int size[3] = {std::atoi(argv[4]), std::atoi(argv[5]), 1}, offset[3] = {0, 0, 0};
  float spacing[3] = {0.2f, 0.1f, 1.0f};
  igtl::ServerSocket::Pointer server = igtl::ServerSocket::New();
  if (server->CreateServer(port) < 0) return 3;
  std::printf("ready\n");
  std::fflush(stdout);
  igtl::ClientSocket::Pointer client = server->WaitForConnection(30000);
  if (client.IsNull()) return 4;
  timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  int sent = 0, transforms = 0;
  for (; sent < count; ++sent) {
    const double due = sent / hz;
    timespec at = start;
    at.tv_sec += (time_t)due;
    at.tv_nsec += (long)((due - (time_t)due) * 1e9);
    if (at.tv_nsec >= 1000000000L) { at.tv_nsec -= 1000000000L; at.tv_sec += 1; }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
    igtl::TimeStamp::Pointer stamp = igtl::TimeStamp::New();
    stamp->GetTime();
    igtl::Matrix4x4 matrix;
    igtl::IdentityMatrix(matrix);
    if (sent % 10 == 0) {
      igtl::TransformMessage::Pointer t = igtl::TransformMessage::New();
      t->SetDeviceName("ProbeToReference");
      matrix[0][3] = (float)sent;
      t->SetMatrix(matrix);
      t->SetTimeStamp(stamp);
      t->Pack();
      if (!client->Send(t->GetPackPointer(), t->GetPackSize())) break;
      ++transforms;
      igtl::IdentityMatrix(matrix);
    }
    igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
    image->SetDimensions(size);
    image->SetSpacing(spacing);
    image->SetScalarTypeToUint8();
    image->SetDeviceName("Image_Reference");
    image->SetSubVolume(size, offset);
    image->AllocateScalars();
    unsigned char* pixels = (unsigned char*)image->GetScalarPointer();
    std::memset(pixels, sent & 0xff, (size_t)size[0] * size[1]);
    std::memcpy(pixels, &sent, 4);
    image->SetMatrix(matrix);
    image->SetTimeStamp(stamp);
    image->Pack();
    if (!client->Send(image->GetPackPointer(), image->GetPackSize())) break;
  }
  std::printf("sent %d and %d transforms\n", sent, transforms);
  std::fflush(stdout);
  client->CloseSocket();
  return 0;
}
