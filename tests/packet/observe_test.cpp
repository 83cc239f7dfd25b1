// What an operator sees of the relay at work: metrics, a call by its trace id, events.
#include <rte_ethdev.h>

#include "packet/admin_client.h"
#include "packet/call_fixture.h"

namespace rig {
namespace {

using nlohmann::json;

constexpr const char* kTrace = "71717171717171717171717171717171";  // as the fixture's envelopes

class Observe : public Calls {
 protected:
  void SetUp() override {
    Calls::SetUp();
    admin.emplace(r);
  }
  void TearDown() override {
    admin.reset();
    Calls::TearDown();
  }
  Buf open_and_accept() {
    const Buf envelope = open_good();
    EXPECT_EQ(arrived(*beta).size(), 1u);
    send(*beta, 5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 0, r.clock.unix_ms()));
    EXPECT_EQ(arrived(*alpha).size(), 1u);
    return envelope;
  }
  json trace(const std::map<std::string, std::string>& more = {}) {
    std::map<std::string, std::string> query{{"id", kTrace}};
    query.insert(more.begin(), more.end());
    return admin->json("/v1/trace", query);
  }
  // Until what was decided is in the published log: the log's thread works by the rig's clock.
  json published_trace(size_t records) {
    json out;
    EXPECT_TRUE(r.poll_until([&] {
      r.clock.advance_ms(20);
      out = trace();
      size_t n = 0;
      for (const auto& c : out["calls"]) n += c["records"].size();
      return n >= records;
    }));
    return out;
  }
  // The value of one sample in the text format; -1: there is none.
  static double sample(const std::string& text, const std::string& what) {
    const size_t at = ("\n" + text).find("\n" + what + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + what.size() + 1));
  }

  std::optional<AdminClient> admin;
};

TEST_F(Observe, MetricsAreTheCountersThemselves) {
  open_and_accept();
  dies(*alpha, alpha->peer.seal(3, 0, to_beta(), 5, {}, Buf(64)), "no_call");
  const auto answer = admin->get("/metrics");
  EXPECT_EQ(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
  const std::string& text = answer.body;
  for (uint32_t w = 0; w < 2; ++w) {
    const auto& c = r.arena->counters(w);
    const std::string worker = "{worker=\"" + std::to_string(w) + "\"}";
    EXPECT_EQ(sample(text, "sluice_worker_rx_packets_total" + worker), double(c.rx_packets.get()));
    EXPECT_EQ(sample(text, "sluice_worker_forwarded_total" + worker), double(c.forwarded.get()));
    EXPECT_EQ(sample(text, "sluice_forward_latency_seconds_count" + worker),
              double(c.forwarded.get()));
    EXPECT_GE(sample(text, "sluice_worker_longest_poll_seconds" + worker), 0);
  }
  EXPECT_EQ(sample(text, "sluice_drops_total{reason=\"no_call\",severity=\"state\"}"), 1);
  EXPECT_EQ(sample(text, "sluice_drops_total{reason=\"runt\",severity=\"noise\"}"), 0);
  EXPECT_EQ(sample(text, "sluice_call_decisions_total{reason=\"authorized\"}"), 1);
  EXPECT_EQ(sample(text, "sluice_sessions{state=\"confirmed\"}"), 3);
  EXPECT_EQ(sample(text, "sluice_tenant_forward_latency_seconds_count{tenant=\"7\"}"),
            double(r.counters()["forwarded"]));
  EXPECT_NE(text.find("# HELP sluice_worker_rx_packets_total frames received from the worker's"),
            std::string::npos);
  for (const char* name : {"alpha", "beta", "gamma"}) {
    EXPECT_EQ(text.find(name), std::string::npos) << "no agent's name is in it";
  }
}

TEST_F(Observe, MetricsAreMadeAtMostFourTimesASecond) {
  const std::string first = admin->get("/metrics").body;
  open_and_accept();
  EXPECT_EQ(admin->get("/metrics").body, first);
  r.clock.advance_ms(300);
  EXPECT_NE(admin->get("/metrics").body, first);
}

TEST_F(Observe, ThePortOfMetricsHasNothingElse) {
  const auto status = [&](const char* method, const char* path) {
    std::optional<int> out;
    admin->api().metrics({.method = method, .path = path, .query = {}},
                         [&](const sluice::http::Response& a) { out = a.status; });
    EXPECT_TRUE(r.poll_until([&] { return out.has_value(); }));
    return out.value_or(0);
  };
  EXPECT_EQ(status("GET", "/metrics"), 200);
  EXPECT_EQ(status("HEAD", "/metrics"), 200);
  EXPECT_EQ(status("POST", "/metrics"), 403);
  for (const char* path : {"/v1/status", "/", "/metrics/", "/v1/revoke"}) {
    EXPECT_EQ(status("GET", path), 404) << path;
  }
}

TEST_F(Observe, ACallFromItsDecisionToItsEnd) {
  open_and_accept();
  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(100, 0xaa));
  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(100, 0xaa));
  send(*beta, 3, 1, to_alpha(), last_, {}, Buf(50, 0xbb));
  settle();
  // Open: known from the workers' own tables, before anything is published.
  json found = trace();
  ASSERT_EQ(found["calls"].size(), 1u);
  json call = found["calls"][0];
  EXPECT_EQ(call["state"], "open");
  EXPECT_EQ(call["decision"], "authorized");
  EXPECT_EQ(call["caller_name"], "alpha");
  EXPECT_EQ(call["callee_name"], "beta");
  EXPECT_EQ(call["call"], last_);
  EXPECT_EQ(call["packets"], 2);
  EXPECT_EQ(call["packets_back"], 1);
  EXPECT_EQ(call["accepted"], true);
  EXPECT_TRUE(call["closed_at_ms"].is_null());

  // Its decision's record is joined to it.
  found = published_trace(1);
  ASSERT_EQ(found["calls"].size(), 1u);
  EXPECT_EQ(found["calls"][0]["state"], "open");
  EXPECT_EQ(found["calls"][0]["capability"], "tool_call");
  EXPECT_EQ(found["calls"][0]["records"].size(), 1u);

  send(*alpha, 4, 0, to_beta(), last_, close_of(0, 200));
  send(*beta, 4, 1, to_alpha(), last_, close_of(3, 50));
  settle();
  ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") == 1; }));
  found = published_trace(2);
  ASSERT_EQ(found["calls"].size(), 1u);
  call = found["calls"][0];
  EXPECT_EQ(call["state"], "closed");
  EXPECT_EQ(call["why"], "closed");
  EXPECT_EQ(call["packets"], 2);
  EXPECT_EQ(call["packets_back"], 1);
  EXPECT_EQ(call["status_back"], 3);
  EXPECT_EQ(call["records"].size(), 2u);
  EXPECT_EQ(found["next"], found["size"]);

  // Nothing of another trace, of another time, or of a part of the log where it is not.
  EXPECT_TRUE(admin->json("/v1/trace", {{"id", std::string(32, '7')}})["calls"].empty());
  EXPECT_TRUE(trace({{"until_ms", "1000"}})["calls"].empty());
  EXPECT_TRUE(
      trace({{"since_ms", std::to_string(r.clock.unix_ms() + 3'600'000)}})["calls"].empty());
  const uint64_t closed = call["records"][1];
  const json half = trace({{"from", std::to_string(closed)}});
  ASSERT_EQ(half["calls"].size(), 1u);
  EXPECT_TRUE(half["calls"][0]["decision"].is_null());
  EXPECT_EQ(half["calls"][0]["state"], "closed");
}

TEST_F(Observe, ADeniedCallAndWrongIds) {
  Envelope e = envelope();
  e.capability = 9;
  open(e.signed_by(alpha->peer), e.counter);
  settle();
  const json found = published_trace(1);
  ASSERT_EQ(found["calls"].size(), 1u);
  EXPECT_EQ(found["calls"][0]["state"], "denied");
  EXPECT_NE(found["calls"][0]["decision"], "authorized");
  for (const char* id :
       {"", "71", "7171717171717171717171717171717g", "7171717171717171717171717171717171"}) {
    EXPECT_EQ(admin->json("/v1/trace", {{"id", id}}, 400)["error"]["code"], "usage") << id;
  }
  EXPECT_EQ(admin->json("/v1/trace", {}, 400)["error"]["code"], "usage");
  const json as_uuid = admin->json("/v1/trace", {{"id", "71717171-7171-7171-7171-717171717171"}});
  EXPECT_EQ(as_uuid["calls"].size(), 1u);
}

json kinds(const json& page) {
  json out = json::array();
  for (const auto& e : page["events"]) out.push_back(e["kind"]);
  return out;
}

TEST_F(Observe, EventsAreThereAtOnceAndInOrder) {
  const json before = admin->json("/v1/events");
  uint64_t last = 0;
  size_t sessions = 0;
  for (const auto& e : before["events"]) {
    EXPECT_EQ(e["event"].get<uint64_t>(), ++last) << "without gaps";
    sessions += e["kind"] == "session" ? 1 : 0;
  }
  EXPECT_EQ(sessions, 3u);
  EXPECT_EQ(before["last"], last);
  EXPECT_EQ(before["lost"], 0);

  // Who waits hears of it when it happens.
  std::optional<json> heard;
  admin->ask("/v1/events",
             {{"after", std::to_string(last)}, {"wait_ms", "30000"}, {"kind", "call"}},
             [&](const sluice::http::Response& a) { heard = json::parse(a.body); });
  r.poll();
  EXPECT_FALSE(heard);
  open_good();
  arrived(*beta);
  ASSERT_TRUE(r.poll_until([&] { return heard.has_value(); }));
  ASSERT_EQ(kinds(*heard), json({"call"}));
  EXPECT_EQ((*heard)["events"][0]["trace"], kTrace);
  EXPECT_FALSE((*heard)["events"][0].contains("index")) << "it is in no published log yet";

  // Or that nothing did.
  heard.reset();
  admin->ask("/v1/events",
             {{"after", "18446744073709551615"}, {"wait_ms", "50"}, {"kind", "proof"}},
             [&](const sluice::http::Response& a) { heard = json::parse(a.body); });
  r.clock.advance_ms(60);
  ASSERT_TRUE(r.poll_until([&] { return heard.has_value(); }));
  EXPECT_EQ((*heard)["events"].size(), 0u);
}

TEST_F(Observe, EventsOfOneTenantAndOfOneKind) {
  const json all = admin->json("/v1/events", {{"tenant", "7"}});
  EXPECT_GE(all["events"].size(), 3u);
  EXPECT_TRUE(admin->json("/v1/events", {{"tenant", "9"}})["events"].empty());
  const json sessions = admin->json("/v1/events", {{"kind", "session"}});
  EXPECT_GE(sessions["events"].size(), 3u);
  for (const auto& e : sessions["events"]) {
    EXPECT_EQ(e["kind"], "session");
  }
  EXPECT_EQ(admin->json("/v1/events", {{"kind", "sessions"}}, 400)["error"]["code"], "usage");
  EXPECT_EQ(admin->json("/v1/events", {{"limit", "0"}}, 400)["error"]["code"], "usage");
  EXPECT_EQ(admin->json("/v1/events", {{"limit", "1"}})["events"].size(), 1u);
}

TEST_F(Observe, WhoComesTooLateIsTold) {
  auto& events = r.control->events();
  const uint64_t begin = events.next();
  for (size_t i = 0; i < 2 * sluice::control::Events::kKept; ++i) {
    events.add(sluice::control::EventKind::kLinkUp, "north");
  }
  const json page = admin->json("/v1/events", {{"after", std::to_string(begin - 1)}});
  EXPECT_EQ(page["lost"], sluice::control::Events::kKept);
  EXPECT_EQ(page["events"].size(), 1000u) << "and the rest with the next one";
  EXPECT_EQ(page["events"][0]["event"], begin + sluice::control::Events::kKept);
  EXPECT_EQ(page["last"], begin + sluice::control::Events::kKept + 999);
}

TEST_F(Observe, MoreThanSixtyFourMayNotWait) {
  unsigned answers = 0, refused = 0;
  for (unsigned i = 0; i < 66; ++i) {
    admin->ask("/v1/events",
               {{"after", "18446744073709551615"}, {"wait_ms", "100"}, {"kind", "proof"}},
               [&](const sluice::http::Response& a) {
                 ++answers;
                 refused += a.status == 503 ? 1 : 0;
               });
  }
  EXPECT_EQ(refused, 2u);
  r.clock.advance_ms(200);
  ASSERT_TRUE(r.poll_until([&] { return answers == 66; }));
  EXPECT_EQ(refused, 2u);
}

TEST_F(Observe, AStalledWorkerAndAControlThreadThatWasAway) {
  const std::string after = std::to_string(admin->json("/v1/events")["last"].get<uint64_t>());
  const auto seen = [&](const char* kind) {
    return admin->json("/v1/events", {{"after", after}, {"kind", kind}})["events"];
  };
  r.clock.advance_ms(300);
  r.poll();
  ASSERT_GE(seen("control_stalled").size(), 1u);
  EXPECT_TRUE(seen("control_stalled")[0]["detail"].get<std::string>().starts_with("for 3"));
  EXPECT_TRUE(seen("worker_stalled").empty()) << "nobody looked meanwhile";
  // Worker 1 stands still; worker 0 and control go on.
  for (int i = 0; i < 400; ++i) {
    r.clock.advance_ms(20);
    r.poll_worker(0);
    r.poll_control();
  }
  json stalled = seen("worker_stalled");
  ASSERT_EQ(stalled.size(), 1u) << "said once";
  EXPECT_EQ(stalled[0]["subject"], "1");
  EXPECT_TRUE(seen("worker_runs").empty());
  for (int i = 0; i < 20; ++i) {
    r.clock.advance_ms(20);
    r.poll();
  }
  ASSERT_EQ(seen("worker_runs").size(), 1u);
  EXPECT_EQ(seen("worker_runs")[0]["subject"], "1");
}

TEST_F(Observe, ALinkThatGoesAndComesBack) {
  const std::string after = std::to_string(admin->json("/v1/events")["last"].get<uint64_t>());
  const auto look = [&] {
    for (int i = 0; i < 6; ++i) {
      r.clock.advance_ms(50);
      r.poll();
    }
  };
  const uint16_t port = r.plane->worker(0).context().ports[1].dpdk_id;
  ASSERT_EQ(rte_eth_dev_set_link_down(port), 0);
  look();
  ASSERT_EQ(rte_eth_dev_set_link_up(port), 0);
  look();
  json seen = json::array();
  const json page = admin->json("/v1/events", {{"after", after}});
  for (const auto& e : page["events"]) {
    if (e["kind"] == "link_down" || e["kind"] == "link_up") seen.push_back(e["kind"]);
    if (seen.size() == 1) {
      EXPECT_EQ(e["subject"], "south1");
    }
  }
  EXPECT_EQ(seen, json::array({"link_down", "link_up"}));
}

TEST_F(Observe, LatencyByWorkerAndTenant) {
  open_and_accept();
  const json all = admin->json("/v1/latency");
  EXPECT_EQ(all["measured"], true);
  uint64_t packets = 0;
  for (const auto& w : all["workers"]) packets += w["packets"].get<uint64_t>();
  EXPECT_EQ(packets, r.counters()["forwarded"]);
  ASSERT_EQ(all["tenants"].size(), 1u);
  const json& t = all["tenants"][0];
  EXPECT_EQ(t["tenant"], 7);
  EXPECT_EQ(t["packets"], packets);
  EXPECT_LE(t["p50_us"], t["p99_us"]);
  EXPECT_LE(t["p999_us"], t["longest_us"]);
  EXPECT_GT(t["mean_us"], 0);
}

}  // namespace
}  // namespace rig
