// Programs over libsluice-agent, by its public header alone, for client_library_test.py.
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <thread>

#include "sluice/agent.h"

namespace {

using namespace sluice::client;
using std::chrono::steady_clock;

std::string read_all() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

void say(const std::string& line) {
  const std::string whole = line + "\n";
  if (::write(STDOUT_FILENO, whole.data(), whole.size()) < 0) std::abort();
}

// The first word says what is done with the rest.
Answer handle(const IncomingCall& call) {
  const auto space = call.data.find(' ');
  const std::string word = call.data.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : call.data.substr(space + 1);
  if (word == "who") {
    return call.from + " " + call.name + " " + call.address + " " + (call.verified ? "1" : "0") +
           " " + call.trace + " " + call.idempotency_key + " " + call.capability + " " +
           call.protocol + " " + std::to_string(call.service) + " " +
           std::to_string(call.scopes.size());
  }
  if (word == "fail") return {rest, 7};
  if (word == "throw") throw std::runtime_error("secret of the handler");
  if (word == "slow") {
    say("slow begins");
    std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(rest)));
    return "slow done";
  }
  if (word == "hold") {
    say("hold begins");
    while (!call.cancelled()) std::this_thread::sleep_for(Milliseconds(5));
    say("hold cancelled");
    return "nobody hears this";
  }
  return call.data;
}

int serve(Agent& agent, unsigned parallel) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ServerOptions options;
  options.parallel = parallel;
  options.on_away = [](const Error& why) { say("away: " + why.code() + " " + why.what()); };
  options.on_back = [] { say("back"); };
  Server server(agent, handle, options);
  say("serving");
  int got = 0;
  sigwait(&ends, &got);
  server.stop();
  say("stopped");
  return 0;
}

int report(const CallFailed& e) {
  say("failed " + e.code() + " " + e.reason() + " " + std::to_string(e.details().status) + " " +
      std::to_string(e.details().data.size()) + " " + e.details().data);
  return 1;
}

int call(Agent& agent, const std::string& peer, CallOptions options) {
  try {
    const CallResult r = agent.call(peer, read_all(), options);
    if (::write(STDOUT_FILENO, r.data.data(), 0) < 0) return 1;
    std::cout << r.data;
    return 0;
  } catch (const CallFailed& e) {
    return report(e);
  }
}

int cancel(Agent& agent, const std::string& peer) {
  CallOptions options;
  options.cancel.emplace();
  std::thread other([&, token = *options.cancel] {
    std::string line;
    std::getline(std::cin, line);
    token();
  });
  const auto code = [&] {
    try {
      say("answered: " + agent.call(peer, "hold", options).data);
      return 0;
    } catch (const CallFailed& e) {
      return report(e);
    }
  }();
  other.join();
  return code;
}

int storm(Agent& agent, const std::string& peer, unsigned calls, unsigned threads) {
  std::atomic<unsigned> next{0}, good{0}, bad{0};
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t) {
    all.emplace_back([&] {
      for (unsigned i = next++; i < calls; i = next++) {
        const std::string mine = "echo " + std::to_string(i) + std::string(i * 37 % 5000, 'x');
        try {
          ++(agent.call(peer, mine).data == mine ? good : bad);
        } catch (const Error& e) {
          say(std::string("storm: ") + e.what());
          ++bad;
        }
      }
    });
  }
  for (std::thread& t : all) t.join();
  say(std::to_string(good) + " good, " + std::to_string(bad) + " bad");
  return bad == 0 ? 0 : 1;
}

int trust(Agent& agent, const std::vector<std::string>& words) {
  const std::string& verb = words.at(0);
  if (verb == "request") {
    TrustOptions options;
    options.right = "may_send";
    options.offer = "may_send";
    options.capabilities = {"tool_call", "read"};
    options.protocols = {"raw"};
    say(agent.request_trust(words.at(1), "by way of the library", options) ? "agreed" : "pending");
  }
  if (verb == "pending") {
    for (const TrustRequest& r : agent.pending()) say(r.did + " " + r.justification);
  }
  if (verb == "approve") agent.approve(words.at(1));
  if (verb == "untrust") agent.untrust(words.at(1), "enough");
  if (verb == "peers") {
    for (const Peer& p : agent.peers()) {
      say(p.did + " " + p.name + " " + p.right + " " + p.state + " " + (p.verified ? "1" : "0"));
    }
  }
  if (verb == "info") {
    const Info i = agent.info();
    say(i.did + " " + i.name + " " + (i.connected ? "up" : "down") + " " +
        std::to_string(i.max_message));
  }
  if (verb == "send") {
    agent.send(words.at(1), {"one", std::string("t\0o", 3), "three"});
  }
  if (verb == "receive") {
    for (const Message& m : agent.receive(Milliseconds(5000))) {
      say(m.from + " " + std::to_string(m.data.size()));
    }
  }
  return 0;
}

int run(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  Agent agent(words.at(0));
  const std::string& verb = words.at(1);
  if (verb == "serve") return serve(agent, unsigned(std::stoul(words.at(2))));
  if (verb == "cancel") return cancel(agent, words.at(2));
  if (verb == "storm") {
    return storm(agent, words.at(2), unsigned(std::stoul(words.at(3))),
                 unsigned(std::stoul(words.at(4))));
  }
  if (verb == "call") {
    CallOptions options;
    if (words.size() > 3) options.capability = words[3];
    if (words.size() > 4) options.trace = words[4];
    return call(agent, words.at(2), options);
  }
  return trust(agent, {words.begin() + 1, words.end()});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& e) {
    say("error " + e.code() + " " + e.what());
    return 3;
  }
}
