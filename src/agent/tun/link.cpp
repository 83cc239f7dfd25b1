#include "agent/tun/link.h"

#include <fcntl.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::agent {
namespace {

constexpr unsigned kReads = 64;  // between them everybody else gets their turn
// Of one read: 64 KB in packets of the least MTU.
constexpr size_t kMostPieces = 56;

}  // namespace

TunLink::TunLink(boost::asio::io_context& io, Agent& agent, const ByteArray<32>& relay_id,
                 TunDevice device, TunLinkHooks hooks)
    : agent_(agent),
      device_(std::move(device)),
      hooks_(std::move(hooks)),
      bridge_(
          agent, relay_id,
          [this](const VnetHeader& header, Bytes packet) { return device_.write(header, packet); }),
      // Both close what they have, so each has a descriptor of its own.
      events_(io, fcntl(device_.fd(), F_DUPFD_CLOEXEC, 0)) {}

// The relay decides on both: the address at enrolment, the MTU with each session.
void TunLink::configure() {
  const auto& welcome = agent_.tunnel().welcome();
  const size_t mtu = agent_.max_message();
  if (!welcome || mtu == 0) return;
  const auto own = bridge_.net().address(VirtualAddress::from_u64(welcome->address));
  if (up_ && mtu == mtu_ && bridge_.own() == own) return;
  if (refused_ == mtu) return;
  const auto refuse = [&](const std::string& why) {
    refused_ = mtu;
    hooks_.report(Level::kError, why);
  };
  if (mtu < kIp6LeastMtu) {
    return refuse(
        fmt::format("{} carries nothing: {} bytes fit in one packet on the path to the relay, and "
                    "IPv6 wants {}",
                    device_.name(), mtu, kIp6LeastMtu));
  }
  bridge_.set_own(VirtualAddress::from_u64(welcome->address));
  // An address on a device of less than 1,280 bytes is no address, so the MTU goes first.
  auto done = device_.set_mtu(mtu).and_then([&] { return device_.set_address(own); }).and_then([&] {
    return device_.bring_up();
  });
  if (!done) {
    return refuse(fmt::format("{}; as root: ip addr add {}/{} dev {} && ip link set {} mtu {} up",
                              done.error().message, to_text(own), TunNet::kPrefix, device_.name(),
                              device_.name(), mtu));
  }
  const bool first = !std::exchange(up_, true);
  mtu_ = mtu;
  refused_ = 0;
  hooks_.report(Level::kInfo,
                fmt::format("{} has {} and an MTU of {} bytes", device_.name(), to_text(own), mtu));
  if (first) wait_readable();
}

void TunLink::pump() {
  bridge_.flush();
  configure();
  if (up_ && !waiting_ && hooks_.room(kMostPieces)) wait_readable();
}

void TunLink::wait_readable() {
  if (std::exchange(waiting_, true)) return;
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](boost::system::error_code ec) {
                       waiting_ = false;
                       if (!ec) on_readable();
                     });
}

void TunLink::on_readable() {
  const Now now = hooks_.now().now;
  for (unsigned i = 0; i < kReads; ++i) {
    // What the kernel holds meanwhile it slows its senders down by.
    if (!hooks_.room(kMostPieces)) break;
    VnetHeader header{};
    const MutBytes packet = device_.read(header);
    if (packet.empty()) break;
    bridge_.from_host(header, packet, now);
  }
  hooks_.kick();
}

nlohmann::json TunLink::describe() const {
  const TunCounters& c = bridge_.counters();
  return {{"device", device_.name()},
          {"address", bridge_.own() ? nlohmann::json(to_text(*bridge_.own())) : nullptr},
          {"mtu", mtu_},
          {"sent", c.sent},
          {"received", c.received},
          {"sent_bytes", c.sent_bytes},
          {"received_bytes", c.received_bytes},
          {"dropped_malformed", c.dropped_malformed},
          {"dropped_source", c.dropped_source},
          {"dropped_target", c.dropped_target},
          {"dropped_refused", c.dropped_refused},
          {"dropped_too_big", c.dropped_too_big},
          {"dropped_full", c.dropped_full},
          {"dropped_device", c.dropped_device}};
}

}  // namespace sluice::agent
