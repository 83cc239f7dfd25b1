#include "agent/front/upstreams.h"

#include <algorithm>

#include <fmt/format.h>

#include "agent/jobs.h"

namespace sluice::agent {
namespace {

constexpr uint64_t kLookUs = 1'000'000;

bool under(std::string_view target, std::string_view prefix) {
  if (target.substr(0, prefix.size()) != prefix) return false;
  return prefix.empty() || target.size() == prefix.size() || target[prefix.size()] == '/' ||
         target[prefix.size()] == '?';
}

}  // namespace

Upstreams::Upstreams(asio::io_context& io, Agent& agent, std::function<void()> kick)
    : needs_{io,
             agent,
             std::move(kick),
             [this](wire::CallProtocol protocol, std::string_view target) {
               return find(protocol, target);
             },
             std::make_shared<ExchangeTally>(),
             std::make_shared<Egress>(io)} {}

std::shared_ptr<Upstream> Upstreams::find(wire::CallProtocol protocol,
                                          std::string_view target) const {
  std::shared_ptr<Upstream> best;
  for (const auto& u : upstreams_) {
    const UpstreamConfig& c = u->row.config;
    if (c.protocol != protocol || !under(target, c.prefix)) continue;
    if (!best || c.prefix.size() > best->row.config.prefix.size()) best = u;
  }
  return best;
}

AcceptStatus Upstreams::admit(const PeerEdge& from, const wire::Envelope& envelope) const {
  const auto protocol = static_cast<wire::CallProtocol>(envelope.protocol);
  const bool any = std::any_of(upstreams_.begin(), upstreams_.end(),
                               [&](const auto& u) { return u->row.config.protocol == protocol; });
  if (!any) return AcceptStatus::kNotServed;
  const auto its = needs_.tally->of.find(from.identity);
  const bool full = needs_.tally->open >= kMostOpen ||
                    (its != needs_.tally->of.end() && its->second >= kMostOpen - kMostOpen / 4);
  return full ? AcceptStatus::kBusy : AcceptStatus::kAccepted;
}

CallUser* Upstreams::user(Call& call) {
  return begin_exchange(needs_, call);
}

Result<void> Upstreams::set(const std::string& server, pid_t pid, const UpstreamConfig& config,
                            uint64_t now_us) {
  for (const auto& u : upstreams_) {
    const UpstreamConfig& c = u->row.config;
    if (c.protocol != config.protocol || c.prefix != config.prefix) continue;
    if (u->row.server != server) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} calls under \"{}\" go to {} already; end that first, or give "
                              "another --path",
                              wire::name_of(wire::kProtocolNames, uint8_t(c.protocol)),
                              c.prefix.empty() ? "/" : c.prefix, describe(c)));
    }
    u->pid = pid;
    u->seen_us = now_us;
    if (u->row.config.url.authority() != config.url.authority()) u->idle.clear();
    u->row.config = config;
    u->row.config.allow.insert(u->row.config.allow.end(), allow_.begin(), allow_.end());
    return {};
  }
  if (upstreams_.size() >= kMost) {
    return fail(ErrorCode::kResource, fmt::format("{} upstreams are named already", kMost));
  }
  auto u = std::make_shared<Upstream>();
  u->row = {config, server, 0, 0, 0};
  u->row.config.allow.insert(u->row.config.allow.end(), allow_.begin(), allow_.end());
  u->pid = pid;
  u->seen_us = now_us;
  upstreams_.push_back(std::move(u));
  return {};
}

void Upstreams::drop(const std::string& server) {
  std::erase_if(upstreams_,
                [&](const auto& u) { return !server.empty() && u->row.server == server; });
}

void Upstreams::pump(uint64_t now_us) {
  if (now_us < looked_us_ + kLookUs) return;
  looked_us_ = now_us;
  std::erase_if(upstreams_, [&](const auto& u) {
    return !u->row.server.empty() && (is_gone(u->pid) || now_us >= u->seen_us + kLeaseUs);
  });
  for (const auto& u : upstreams_) {
    while (!u->idle.empty() && u->idle.front()->stale(steady_clock::now())) u->idle.pop_front();
  }
}

uint64_t Upstreams::wake_us() const {
  const bool leased = std::any_of(upstreams_.begin(), upstreams_.end(), [](const auto& u) {
    return !u->row.server.empty() || !u->idle.empty();
  });
  return leased ? looked_us_ + kLookUs : kNever;
}

std::vector<UpstreamRow> Upstreams::rows() const {
  std::vector<UpstreamRow> out;
  for (const auto& u : upstreams_) out.push_back(u->row);
  return out;
}

}  // namespace sluice::agent
