#include "agent/tun/link.h"

#include <fcntl.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::agent {
namespace {

constexpr unsigned kReads = 64;  // between them everybody else gets their turn
// Of one read: 64 KB in segments of the 536 bytes that every TCP takes.
constexpr size_t kMostPieces = 128;

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
  const size_t mtu = agent_.max_ip_packet();
  if (gone_ || !welcome || mtu == 0) return;
  const auto address = VirtualAddress::from_u64(welcome->address);
  const Ip6 own = bridge_.net().address(address);
  if (up_ && mtu == wanted_ && bridge_.own() == own) return;
  if (refused_ && mtu == wanted_) return;
  wanted_ = mtu;
  const auto refuse = [&](const std::string& why) {
    up_ = false;
    refused_ = true;
    mtu_ = 0;
    if (why != complaint_) hooks_.report(Level::kError, why);
    complaint_ = why;
  };
  if (mtu < kIp6LeastMtu) {
    device_.take_down();
    return refuse(
        fmt::format("{} carries nothing: {} bytes fit in one packet on the path to the relay, and "
                    "IPv6 wants {}",
                    device_.name(), mtu, kIp6LeastMtu));
  }
  // An address on a device of less than 1,280 bytes is no address, so the MTU goes first.
  const auto got = device_.set_mtu(mtu);
  const auto done = got ? device_.set_address(own).and_then([&] { return device_.bring_up(); })
                        : Result<void>(tl::unexpected(got.error()));
  if (!done) {
    return refuse(
        done.error().code == ErrorCode::kNoPrivilege
            ? fmt::format("{}; as root: ip addr add {}/{} dev {} && ip link set {} mtu {} "
                          "up",
                          done.error().message, to_text(own), TunNet::kPrefix, device_.name(),
                          device_.name(), mtu)
            : done.error().message);
  }
  bridge_.set_own(address);
  mtu_ = *got;
  up_ = true;
  refused_ = false;
  complaint_.clear();
  hooks_.report(Level::kInfo, fmt::format("{} has {} and an MTU of {} bytes", device_.name(),
                                          to_text(own), mtu_));
  if (const std::string other = device_.rival(bridge_.net()); !other.empty()) {
    hooks_.report(Level::kWarn,
                  fmt::format("{} has an address of the same relay's net: the kernel sends what is "
                              "for peers by one of the two devices alone (docs/tun.md)",
                              other));
  }
}

void TunLink::pump() {
  bridge_.flush();
  configure();
}

void TunLink::resume() {
  if (up_ && !waiting_ && hooks_.room(kMostPieces)) wait_readable();
}

void TunLink::check() {
  refused_ = false;
  if (up_ && bridge_.own() && !device_.is_set(*bridge_.own(), mtu_)) up_ = false;
}

void TunLink::wait_readable() {
  waiting_ = true;
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](boost::system::error_code ec) {
                       waiting_ = false;
                       if (!ec) on_readable();
                     });
}

void TunLink::on_readable() {
  const Now now = hooks_.now().now;
  for (unsigned i = 0; up_ && i < kReads; ++i) {
    // What the kernel holds meanwhile it slows its senders down by.
    if (!hooks_.room(kMostPieces)) break;
    VnetHeader header{};
    const auto packet = device_.read(header);
    if (!packet) {
      gone_ = true;
      up_ = false;
      mtu_ = 0;
      hooks_.report(
          Level::kError,
          fmt::format("the TUN device {} is gone, somebody removed it; restart the daemon "
                      "for another",
                      device_.name()));
      break;
    }
    if (packet->empty()) break;
    bridge_.from_host(header, *packet, now);
  }
  hooks_.kick();
}

nlohmann::json TunLink::describe() const {
  const TunCounters& c = bridge_.counters();
  return {{"device", device_.name()},
          {"address", up_ ? nlohmann::json(to_text(*bridge_.own())) : nullptr},
          {"mtu", mtu_},
          {"sent", c.sent},
          {"received", c.received},
          {"sent_bytes", c.sent_bytes},
          {"received_bytes", c.received_bytes},
          {"dropped_malformed", c.dropped_malformed},
          {"dropped_source", c.dropped_source},
          {"dropped_target", c.dropped_target},
          {"dropped_refused", c.dropped_refused},
          {"dropped_unreachable", c.dropped_unreachable},
          {"dropped_too_big", c.dropped_too_big},
          {"dropped_full", c.dropped_full},
          {"dropped_device", c.dropped_device}};
}

}  // namespace sluice::agent
