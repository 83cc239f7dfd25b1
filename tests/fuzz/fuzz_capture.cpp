// Captured packets of every link type: finding the tunnel's payload in them, opening and describing
// it. The first byte chooses link type and direction. And lines of key logs.
#include <pcap/dlt.h>

#include <algorithm>

#include "crypto/key_log.h"
#include "fuzz.h"
#include "pcap/description.h"
#include "pcap/opened.h"
#include "pcap/opener.h"
#include "pcap/packet_finder.h"

namespace {

using namespace sluice;
using namespace sluice::capture;

const bool kReady = crypto::init();  // key logs are written in guarded memory

fuzz::Canary tunnel_seen("a packet of the tunnel");
fuzz::Canary truncated_seen("a truncated packet of the tunnel");
fuzz::Canary frame_seen("a good frame");
fuzz::Canary message_seen("an end-to-end message");
fuzz::Canary line_seen("a line of a key log");

constexpr int kLinks[] = {DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_RAW, DLT_NULL};

void payload(Bytes in, bool to_relay) {
  const Description d = describe(in, to_relay);
  SLUICE_REQUIRE((in.size() < 16) == (d.verdict == Verdict::kShort));
  for (const Field& f : d.fields) {
    if (f.is_bytes) SLUICE_REQUIRE(fuzz::inside(f.bytes, in));
  }
  SLUICE_REQUIRE(d.fields.empty() == sentence(d).empty());
  if (d.verdict == Verdict::kOk && d.find("frame.type") != nullptr) frame_seen.reached();
  if (d.find("e2e.type") != nullptr) message_seen.reached();

  static const KeyStore no_keys;
  Buffer copy = to_buffer(in);
  const OpeningResult result = Opener(no_keys).open(copy);
  SLUICE_REQUIRE(result.tunnel != Opening::kDone && result.message != Opening::kDone);
  SLUICE_REQUIRE(result.credential || std::equal(copy.begin(), copy.end(), in.begin()));
}

void packet(Bytes in, int link, size_t cut) {
  auto finder = PacketFinder::create(link, kTunnelPort);
  TunnelPacket at;
  switch (finder->find(in, in.size() + cut, at)) {
    case Found::kOther:
      return;
    case Found::kTruncated:
      truncated_seen.reached();
      SLUICE_REQUIRE(cut > 0 && at.payload_offset + at.payload_size > in.size());
      return;
    case Found::kTunnel:
      tunnel_seen.reached();
      SLUICE_REQUIRE(at.payload_offset + at.payload_size <= in.size());
      payload(in.subspan(at.payload_offset, at.payload_size), at.to_relay);
      Buffer copy = to_buffer(in);
      mend_checksum(copy, at);
  }
}

void line(Bytes in) {
  const auto entry = crypto::parse_key_log_line(as_text(in));
  if (!entry) return;
  line_seen.reached();
  SLUICE_REQUIRE(crypto::parse_key_log_line(as_text(crypto::key_log_line(*entry).bytes().first(
                                                crypto::key_log_line(*entry).size() - 1)))
                     .has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  line({bytes, size});
  if (size == 0) return 0;
  const Bytes rest(bytes + 1, size - 1);
  payload(rest, (bytes[0] & 1) != 0);
  packet(rest, kLinks[(bytes[0] >> 1 & 15) % std::size(kLinks)], bytes[0] >> 5);
  return 0;
}
