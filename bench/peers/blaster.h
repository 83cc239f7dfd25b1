// Sends a client's packets from the sender's interface at a given rate and counts what reaches the
// receiver's. Spins on its core. One thread.
#pragma once

#include <sys/socket.h>

#include <vector>

#include "bench/peers/client.h"

namespace sluice::bench {

struct Trial {
  double seconds = 0;          // of the window: the trial without its first kWarmUp
  uint64_t sent = 0;           // in the window
  uint64_t delivered = 0;      // in the window
  uint64_t sent_all = 0;       // from first to last packet
  uint64_t delivered_all = 0;  // until nothing more came
};

class Blaster {
 public:
  Blaster(Client& client, Host& sender, Host& receiver);

  // Packets a second, 0: as many as this core can. Throws if a packet cannot be sent at all.
  Trial run(double rate, double seconds);
  // Sends `count` slowly and returns how many the receiver got and found authentic.
  unsigned prove(unsigned count);

 private:
  static constexpr unsigned kBatch = 32;
  struct Slot {
    alignas(64) uint8_t bytes[64 + kMaxDatagram];
  };

  void fill(Slot& slot, iovec& piece);
  void send_batch(unsigned count);

  Client& client_;
  Host& sender_;
  Host& receiver_;
  std::vector<Slot> slots_;
  std::vector<iovec> pieces_;
  std::vector<mmsghdr> messages_;
};

}  // namespace sluice::bench
