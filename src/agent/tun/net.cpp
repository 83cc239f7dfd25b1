#include "agent/tun/net.h"

#include <arpa/inet.h>

#include <algorithm>

#include "crypto/hash.h"

namespace sluice::agent {
namespace {

constexpr uint8_t kUniqueLocal = 0xfd;
constexpr std::string_view kLabel = "sluice-tun/1";
constexpr size_t kTenantAt = 6;
constexpr size_t kNodeAt = 12;

}  // namespace

TunNet::TunNet(const ByteArray<32>& relay_id) {
  const auto digest = crypto::sha256({as_bytes(kLabel), relay_id});
  prefix_[0] = kUniqueLocal;
  std::copy_n(digest.begin(), 5, prefix_.begin() + 1);
}

Ip6 TunNet::address(VirtualAddress of) const {
  Ip6 out{};
  std::copy(prefix_.begin(), prefix_.end(), out.begin());
  store_be16(out.data() + kTenantAt, of.tenant);
  store_be32(out.data() + kNodeAt, of.node);
  return out;
}

std::optional<VirtualAddress> TunNet::find(const uint8_t* ip) const {
  const VirtualAddress found{load_be16(ip + kTenantAt), load_be32(ip + kNodeAt)};
  const Ip6 whole = address(found);
  return std::equal(whole.begin(), whole.end(), ip) ? std::optional(found) : std::nullopt;
}

std::string to_text(const Ip6& ip) {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(AF_INET6, ip.data(), text, sizeof text) == nullptr ? "" : text;
}

}  // namespace sluice::agent
