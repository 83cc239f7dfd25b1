// Capture files by libpcap: pcap and pcapng are read, pcap is written. One thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

struct pcap;
struct pcap_dumper;

namespace sluice::capture {

struct Packet {
  MutBytes bytes;        // as captured, until the next one is read
  size_t wire_size = 0;  // before it was cut
  uint64_t time_ns = 0;  // Unix
};

class CaptureReader {
 public:
  // "-" is standard input.
  static Result<CaptureReader> open(const std::string& path);

  int link_type() const;
  // Nothing at the end. An error names the packet that cannot be read; those before it were good.
  Result<std::optional<Packet>> next();

 private:
  friend class CaptureWriter;
  struct Close {
    void operator()(pcap* p) const;
  };
  CaptureReader(std::string path, pcap* p) : path_(std::move(path)), pcap_(p) {}

  std::string path_;
  std::unique_ptr<pcap, Close> pcap_;
  uint64_t packets_ = 0;
  Buffer bytes_;
};

class CaptureWriter {
 public:
  // A new file of the link type and precision of `like`, for its owner alone; "-" is standard
  // output. kConflict: something of that name exists.
  static Result<CaptureWriter> create(const std::string& path, const CaptureReader& like);

  void write(const Packet& packet);
  // Everything is in the file.
  Result<void> finish();

 private:
  struct Close {
    void operator()(pcap_dumper* d) const;
  };
  CaptureWriter(std::string path, pcap_dumper* d) : path_(std::move(path)), dumper_(d) {}

  std::string path_;
  std::unique_ptr<pcap_dumper, Close> dumper_;
};

}  // namespace sluice::capture
