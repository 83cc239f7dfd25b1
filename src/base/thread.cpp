#include "base/thread.h"

#include <pthread.h>
#include <signal.h>

namespace sluice {

std::thread start_thread(const char* name, std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread out(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(out.native_handle(), name);
  return out;
}

}  // namespace sluice
