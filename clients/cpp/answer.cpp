// Answers every call with what it said, in capitals, until Enter is pressed:  answer
//   g++ -std=c++17 answer.cpp $(pkg-config --cflags --libs sluice-agent) -o answer
#include <cctype>
#include <cstdio>

#include <sluice/agent.h>

int main() {
  namespace client = sluice::client;
  client::Agent agent;
  try {
    client::Server server(agent, [](const client::IncomingCall& call) {
      std::printf("%s asks: %s\n", call.name.c_str(), call.data.c_str());
      std::string said = call.data;
      for (char& c : said) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      return client::Answer(said);
    });
    std::printf("serving calls; Enter ends it\n");
    std::fflush(stdout);
    std::getchar();
    return 0;  // the Server's end waits for what it is answering
  } catch (const client::Error& e) {
    std::fprintf(stderr, "answer: %s\n", e.what());
    return 1;
  }
}
