#include "packet/guard.h"

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/annotate.h"

#if defined(SLUICE_ASAN) || defined(SLUICE_TSAN)
#define SLUICE_TRAPS 0
#else
#define SLUICE_TRAPS 1
#endif

namespace rig {
namespace {

std::atomic<unsigned> allocations{0};
std::atomic<unsigned> calls{0};
std::atomic<int> last_call{-1};
std::atomic<bool> wipe_freed{false};

#if SLUICE_TRAPS

thread_local bool guarded = false;

// Syscall user dispatch (Linux 5.11): the kernel looks at this byte before each system call of the
// thread and delivers SIGSYS while it says so.
#ifndef PR_SET_SYSCALL_USER_DISPATCH
constexpr int PR_SET_SYSCALL_USER_DISPATCH = 59;
#endif
constexpr unsigned long kDispatchOn = 1;
thread_local volatile char selector = 0;

void on_system_call(int, siginfo_t* info, void* context) {
  selector = 0;
  calls.fetch_add(1);
  last_call.store(info->si_syscall);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

bool dispatch_on_this_thread() {
  thread_local const bool on = [] {
    struct sigaction action {};
    action.sa_sigaction = on_system_call;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGSYS, &action, nullptr) == 0 &&
           prctl(PR_SET_SYSCALL_USER_DISPATCH, kDispatchOn, 0, 0, &selector) == 0;
  }();
  return on;
}

void note_allocation() {
  if (guarded) allocations.fetch_add(1);
}

#endif

}  // namespace

#if SLUICE_TRAPS

WorkerGuard::WorkerGuard() {
  const bool dispatched = dispatch_on_this_thread();
  guarded = true;
  if (dispatched) selector = 1;
}

WorkerGuard::~WorkerGuard() {
  selector = 0;
  guarded = false;
}

bool WorkerGuard::traps_allocations() {
  return true;
}

bool WorkerGuard::traps_system_calls() {
  return dispatch_on_this_thread();
}

#else

WorkerGuard::WorkerGuard() = default;
WorkerGuard::~WorkerGuard() = default;
bool WorkerGuard::traps_allocations() {
  return false;
}
bool WorkerGuard::traps_system_calls() {
  return false;
}

#endif

void wipe_what_is_freed() {
  wipe_freed = true;
}

std::string take_trespasses() {
  std::string out;
  if (const unsigned n = allocations.exchange(0); n != 0) {
    out += std::to_string(n) + " allocations or releases of memory on a worker. ";
  }
  if (const unsigned n = calls.exchange(0); n != 0) {
    out += std::to_string(n) + " rounds of a worker with a system call, the last of them number " +
           std::to_string(last_call.load()) + ".";
  }
  return out;
}

}  // namespace rig

#if SLUICE_TRAPS

// In front of the C library's own, for this program and every library it loads.
extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t n) {
  rig::note_allocation();
  return __libc_malloc(n);
}
void* calloc(size_t n, size_t size) {
  rig::note_allocation();
  return __libc_calloc(n, size);
}
void* realloc(void* p, size_t n) {
  rig::note_allocation();
  return __libc_realloc(p, n);
}
void free(void* p) {
  rig::note_allocation();
  if (p != nullptr && rig::wipe_freed) std::memset(p, 0xa5, malloc_usable_size(p));
  __libc_free(p);
}
void* memalign(size_t alignment, size_t n) {
  rig::note_allocation();
  return __libc_memalign(alignment, n);
}
void* aligned_alloc(size_t alignment, size_t n) {
  rig::note_allocation();
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** out, size_t alignment, size_t n) {
  rig::note_allocation();
  *out = __libc_memalign(alignment, n);
  return *out == nullptr ? ENOMEM : 0;
}
}

#endif
