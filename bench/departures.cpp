#include "bench/departures.h"

#include <algorithm>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "bench/feeder.h"
#include "bench/marker.h"
#include "control.pb.h"

namespace sluice::bench {
namespace {

constexpr unsigned kAtOnce = 256;

}  // namespace

Departures::Departures(InMemoryRelay& relay, Load& load, uint32_t targets)
    : relay_(relay), load_(load), targets_(targets), queues_(relay.house().workers) {}

void Departures::begin(uint32_t agent) {
  agent_ = agent;
  expect_ = UINT64_MAX;
  passed_ = 0;
  for (Queue& q : queues_) {
    q.cut_at = UINT64_MAX;
    q.marked = false;
  }
}

void Departures::cut() {
  for (unsigned w = 0; w < queues_.size(); ++w) {
    queues_[w].cut_at = queues_[w].taken + rte_ring_count(relay_.tx(w));
  }
}

bool Departures::marked() const {
  return std::all_of(queues_.begin(), queues_.end(), [](const Queue& q) { return q.marked; });
}

uint64_t Departures::reported_at() const {
  uint64_t last = 0;
  for (const Queue& q : queues_) last = std::max(last, q.reported_at);
  return last;
}

void Departures::collect() {
  void* items[kAtOnce];
  for (unsigned w = 0; w < queues_.size(); ++w) {
    while (const unsigned n = rte_ring_sc_dequeue_burst(relay_.tx(w), items, kAtOnce, nullptr)) {
      for (unsigned i = 0; i < n; ++i) judge(w, static_cast<rte_mbuf*>(items[i]));
      rte_pktmbuf_free_bulk(reinterpret_cast<rte_mbuf**>(items), n);
    }
  }
}

void Departures::judge(unsigned queue, rte_mbuf* m) {
  Queue& q = queues_[queue];
  const uint64_t position = q.taken++;
  if (const auto marker = read_marker(m)) {
    if (q.marked || marker->token < expect_) return;
    q.marked = true;
    q.reported_at = marker->ticks;
    return;
  }
  uint8_t* outer = rte_pktmbuf_mtod_offset(m, uint8_t*, kOuterHeaders);
  const uint32_t to = wire::read_outer(outer).receiver - 1;  // see InMemoryRelay::make_sessions
  if (to >= targets_) return;
  const bool current = (to | 1) == (agent_ | 1);
  if (current && !q.marked && position < q.cut_at) {
    ++passed_;
  } else {
    open(to, outer, rte_pktmbuf_data_len(m) - kOuterHeaders);
  }
}

void Departures::open(uint32_t to, uint8_t* outer, size_t size) {
  const AgentSide& a = relay_.agent(to);
  SealShape s;
  shape(wire::Seal::kFull, a.receive, a.receive_salt, outer, size, s);
  if (crypto::aead().open({&s.op, 1}) == 0) {
    ++not_authentic_;
    return;
  }
  const wire::FrameHeader frame = wire::read_frame(outer + wire::kDataRegion);
  // No agent's: the relay drops those.
  if (frame.type == uint8_t(wire::FrameType::kCallDeny) && to % 2 == 1) {
    ++denied_;
    return;
  }
  if (frame.type != uint8_t(wire::FrameType::kControl)) {
    ++behind_;
    return;
  }
  if (to % 2 == 0) {
    pb::Control body;
    body.ParseFromArray(outer + wire::kDataRegion + sizeof frame, frame.extension_length);
    return to_revoked(to, body);
  }
  pb::Control ack;
  ack.mutable_ack();
  const std::string body = ack.SerializeAsString();
  load_.send(
      to,
      {uint8_t(wire::FrameType::kControl), 0, static_cast<uint16_t>(body.size()), 0, frame.call_id},
      as_bytes(body));
  ++acknowledged_;
}

// One notice, to the agent that is being revoked, and nothing else.
void Departures::to_revoked(uint32_t agent, const pb::Control& body) {
  if (body.has_revoked() && agent == agent_ && told_ != agent) {
    told_ = agent;
    ++farewells_;
  } else {
    ++behind_;
  }
}

}  // namespace sluice::bench
