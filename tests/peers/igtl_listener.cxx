// Reads what a publisher sends by Debian's libopenigtlink, a line for each message: igtl_listener HOST PORT COUNT
// A message whose check sum is wrong is "bad KIND".
#include <igtlClientSocket.h>
#include <igtlImageMessage.h>
#include <igtlMessageHeader.h>
#include <igtlPointMessage.h>
#include <igtlStringMessage.h>
#include <igtlTransformMessage.h>

#include <cstdio>
#include <cstdlib>
#include <string>

template <class Message>
typename Message::Pointer Read(igtl::Socket* socket, igtl::MessageHeader::Pointer header, bool& good) {
  typename Message::Pointer message = Message::New();
  message->SetMessageHeader(header);
  message->AllocatePack();
  socket->Receive(message->GetPackBodyPointer(), message->GetPackBodySize());
  good = (message->Unpack(1) & igtl::MessageHeader::UNPACK_BODY) != 0;
  return message;
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer(argv[1], std::atoi(argv[2])) != 0) return 3;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize()) break;
    header->Unpack();
    const std::string kind = header->GetDeviceType(), device = header->GetDeviceName();
    bool good = false;
    if (header->GetBodySizeToRead() == 0) {  // this version of the library does not unpack what has no body
      std::printf("%s %s empty\n", kind.c_str(), device.c_str());
      good = true;
    } else if (kind == "TRANSFORM") {
      igtl::TransformMessage::Pointer m = Read<igtl::TransformMessage>(socket, header, good);
      igtl::Matrix4x4 t;
      m->GetMatrix(t);
      if (good) std::printf("TRANSFORM %s %.3f %.3f %.3f\n", device.c_str(), t[0][3], t[1][3], t[2][3]);
    } else if (kind == "POINT") {
      igtl::PointMessage::Pointer m = Read<igtl::PointMessage>(socket, header, good);
      if (good) std::printf("POINT %s %d\n", device.c_str(), m->GetNumberOfPointElement());
    } else if (kind == "STRING") {
      igtl::StringMessage::Pointer m = Read<igtl::StringMessage>(socket, header, good);
      if (good) std::printf("STRING %s %s\n", device.c_str(), m->GetString());
    } else if (kind == "IMAGE") {
      igtl::ImageMessage::Pointer m = Read<igtl::ImageMessage>(socket, header, good);
      int size[3];
      float spacing[3];
      m->GetDimensions(size);
      m->GetSpacing(spacing);
      const unsigned char* p = (const unsigned char*)m->GetScalarPointer();
      if (good)
        std::printf("IMAGE %s %d %d %.3f %.3f %d\n", device.c_str(), size[0], size[1], spacing[0], spacing[1], p[1]);
    } else {
      socket->Skip(header->GetBodySizeToRead(), 0);
      std::printf("%s %s\n", kind.c_str(), device.c_str());
      good = true;
    }
    if (!good) std::printf("bad %s\n", kind.c_str());
    std::fflush(stdout);
  }
  socket->CloseSocket();
  return 0;
}
