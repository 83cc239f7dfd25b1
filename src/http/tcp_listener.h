// A listening TCP socket whose connections are handed over as they come, without a word read from
// them. Everything runs on the one thread that runs the io_context, which must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace boost::asio {
class io_context;
}

namespace sluice::http {

class TcpListener {
 public:
  // kConflict: the port is taken. `service`: what messages say is served there.
  static Result<std::unique_ptr<TcpListener>> listen(boost::asio::io_context& io,
                                                     const std::string& address, uint16_t port,
                                                     const std::string& service,
                                                     std::function<void(const Fd&)> accepted);
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;
  ~TcpListener();

 private:
  struct Core;
  explicit TcpListener(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;
};

}  // namespace sluice::http
