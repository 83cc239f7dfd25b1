// Who has the two streams of a call on this host: a program behind the local API, an HTTP exchange.
// One thread. All of these are called from Calls::pump(), none from within a function of the call.
#pragma once

namespace sluice::agent {

class Call;

class CallUser {
 public:
  virtual ~CallUser() = default;
  virtual void on_bytes(Call& call) = 0;  // there is more to read, or the stream's end
  virtual void on_room(Call& call) = 0;   // write() takes bytes, for the first time or again
  // It is over. Called once and last; the call must not be used afterwards.
  virtual void on_end(Call& call) = 0;
};

}  // namespace sluice::agent
