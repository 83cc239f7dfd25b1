// Asks a peer and prints its answer:  ask PEER TEXT
//   g++ -std=c++17 ask.cpp $(pkg-config --cflags --libs sluice-agent) -o ask
#include <cstdio>

#include <sluice/agent.h>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "ask PEER TEXT: a name, DID or address, and what to say\n");
    return 2;
  }
  sluice::client::Agent agent;
  try {
    std::printf("%s\n", agent.call(argv[1], argv[2]).data.c_str());
    return 0;
  } catch (const sluice::client::CallFailed& e) {
    std::fprintf(stderr, "ask: %s [%s]\n", e.what(), e.reason().c_str());
  } catch (const sluice::client::Error& e) {
    std::fprintf(stderr, "ask: %s\n", e.what());
  }
  return 1;
}
