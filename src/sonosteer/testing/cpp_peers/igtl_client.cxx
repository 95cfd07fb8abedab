// Reads pictures by Debian's libopenigtlink and says how old each was when it was here: igtl_client HOST PORT SECONDS
// A line for each picture, its age in ms, once the time is over or the sender is gone. Check sums are compared.
#include <igtlClientSocket.h>
#include <igtlImageMessage.h>
#include <igtlMessageHeader.h>
#include <igtlTimeStamp.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

static double Now(clockid_t which) {
  timespec t;
  clock_gettime(which, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer(argv[1], std::atoi(argv[2])) != 0) return 3;
  const double end = Now(CLOCK_MONOTONIC) + std::atof(argv[3]);
  std::vector<double> ages;
  int bad = 0;
  while (Now(CLOCK_MONOTONIC) < end) {
    igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize()) break;
    header->Unpack();
    if (std::string(header->GetDeviceType()) != "IMAGE") {
      socket->Skip(header->GetBodySizeToRead(), 0);
      continue;
    }
    igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
    image->SetMessageHeader(header);
    image->AllocatePack();
    socket->Receive(image->GetPackBodyPointer(), image->GetPackBodySize());
    if (!(image->Unpack(1) & igtl::MessageHeader::UNPACK_BODY)) {
      ++bad;
      continue;
    }
    igtl::TimeStamp::Pointer stamp = igtl::TimeStamp::New();
    image->GetTimeStamp(stamp);
    ages.push_back(1e3 * (Now(CLOCK_REALTIME) - stamp->GetTimeStamp()));
  }
  socket->CloseSocket();
  for (double age : ages) std::printf("%.4f\n", age);
  return bad ? 4 : 0;
}
