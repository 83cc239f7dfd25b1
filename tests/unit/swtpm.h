// A software TPM of one's own on a port of this host, with its state in a folder; gone when the
// object is.
#pragma once

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include <fmt/format.h>

namespace sluice::vault {

class Swtpm {
 public:
  explicit Swtpm(const std::string& folder) : folder_(folder) {
    std::filesystem::create_directories(folder_);
    // It takes a port for commands and the next one for control.
    for (uint16_t port = static_cast<uint16_t>(20'000 + getpid() % 20'000); port < 60'000;
         port = static_cast<uint16_t>(port + 2)) {
      if (!is_free(port) || !is_free(static_cast<uint16_t>(port + 1))) continue;
      port_ = port;
      break;
    }
    start();
  }
  Swtpm(const Swtpm&) = delete;
  Swtpm& operator=(const Swtpm&) = delete;
  ~Swtpm() { stop(); }

  bool runs() const { return pid_ > 0; }
  std::string tcti() const { return fmt::format("swtpm:host=127.0.0.1,port={}", port_); }
  // Off and on again: PCRs are what they are after a boot.
  void restart() {
    stop();
    start();
  }
  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  static sockaddr_in address(uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return out;
  }
  static bool is_free(uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in a = address(port);
    const bool out = bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
    close(fd);
    return out;
  }
  bool answers() const {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in a = address(static_cast<uint16_t>(port_ + 1));
    const bool out = connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
    close(fd);
    return out;
  }
  void start() {
    pid_ = fork();
    if (pid_ == 0) {
      const std::string state = "dir=" + folder_;
      const std::string server = fmt::format("type=tcp,port={}", port_);
      const std::string control = fmt::format("type=tcp,port={}", port_ + 1);
      execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state.c_str(), "--server",
             server.c_str(), "--ctrl", control.c_str(), "--flags", "not-need-init,startup-clear",
             "--log", "level=0", static_cast<char*>(nullptr));
      _exit(127);
    }
    for (int i = 0; i < 200 && !answers(); ++i) {
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  const std::string folder_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace sluice::vault
