// The agent bench's HTTP client (bench/README.md, "agent"): so many keep-alive connections that ask
// for the same thing again and again, or one that reads a long answer. Prints JSON.
//   http_client rps HOST PORT TARGET [HOST-FIELD] --connections 64 --seconds 5
//   http_client download HOST PORT TARGET HOST-FIELD
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

struct Plan {
  tcp::endpoint at;
  std::string target, host;
  uint64_t connections = 64;
  double seconds = 5;
};

struct Counts {
  uint64_t answers = 0, errors = 0, bytes = 0;
  std::vector<uint32_t> us;
};

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

http::request<http::empty_body> make_request(const Plan& plan) {
  http::request<http::empty_body> out{http::verb::get, plan.target, 11};
  out.set(http::field::host, plan.host);
  out.keep_alive(true);
  return out;
}

asio::awaitable<void> ask_again_and_again(const Plan& plan, Clock::time_point end, bool& count,
                                          Counts& counts) {
  tcp::socket socket(co_await asio::this_coro::executor);
  const auto [refused] = co_await socket.async_connect(plan.at, kToken);
  if (refused) {
    ++counts.errors;
    co_return;
  }
  socket.set_option(tcp::no_delay(true));
  boost::beast::flat_buffer buffer;
  while (Clock::now() < end) {
    const auto begin = Clock::now();
    auto request = make_request(plan);
    const auto [not_sent, n] = co_await http::async_write(socket, request, kToken);
    http::response<http::string_body> response;
    const auto [not_read, m] = co_await http::async_read(socket, buffer, response, kToken);
    if (not_sent || not_read || response.result() != http::status::ok) {
      ++counts.errors;
      if (not_sent || not_read) co_return;
      continue;
    }
    if (!count) continue;
    ++counts.answers;
    counts.bytes += response.body().size();
    counts.us.push_back(static_cast<uint32_t>(since(begin) * 1e6));
  }
}

int run_rps(const Plan& plan) {
  asio::io_context io(1);
  Counts counts;
  bool count = false;
  const auto warm = Clock::now() + std::chrono::milliseconds(500);
  const auto end = warm + std::chrono::microseconds(uint64_t(plan.seconds * 1e6));
  for (uint64_t i = 0; i < plan.connections; ++i) {
    asio::co_spawn(io, ask_again_and_again(plan, end, count, counts), asio::detached);
  }
  io.run_until(warm);
  count = true;
  const auto begin = Clock::now();
  io.run();
  const double took = std::min(since(begin), plan.seconds);
  std::sort(counts.us.begin(), counts.us.end());
  const auto at = [&](double q) {
    return counts.us.empty() ? 0u : counts.us[size_t(q * double(counts.us.size() - 1))];
  };
  fmt::print("{{\"rps\":{:.1f},\"errors\":{},\"p50_us\":{},\"p99_us\":{},\"bytes\":{}}}\n",
             double(counts.answers) / took, counts.errors, at(0.5), at(0.99), counts.bytes);
  return counts.answers == 0;
}

asio::awaitable<void> download(const Plan& plan, int& failed) {
  tcp::socket socket(co_await asio::this_coro::executor);
  const auto [refused] = co_await socket.async_connect(plan.at, kToken);
  if (refused) co_return;
  auto request = make_request(plan);
  const auto [not_sent, n] = co_await http::async_write(socket, request, kToken);
  boost::beast::flat_buffer buffer(1u << 20);
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  const auto [no_head, m] = co_await http::async_read_header(socket, buffer, parser, kToken);
  if (not_sent || no_head || parser.get().result() != http::status::ok) co_return;
  std::vector<char> piece(1u << 20);
  uint64_t bytes = 0;
  const auto begin = Clock::now();
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    auto [ec, k] = co_await http::async_read_some(socket, buffer, parser, kToken);
    bytes += piece.size() - parser.get().body().size;
    if (ec && ec != http::error::need_buffer) co_return;
  }
  const double took = since(begin);
  fmt::print("{{\"mbps\":{:.1f},\"bytes\":{},\"seconds\":{:.3f}}}\n", double(bytes) * 8e-6 / took,
             bytes, took);
  failed = 0;
}

int run_download(const Plan& plan) {
  asio::io_context io(1);
  int failed = 1;
  asio::co_spawn(io, download(plan, failed), asio::detached);
  io.run();
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    fmt::print(stderr,
               "usage: http_client rps|download ADDRESS PORT TARGET HOST [CONNECTIONS SECONDS]\n");
    return 2;
  }
  Plan plan;
  plan.at = {asio::ip::make_address(argv[2]), static_cast<uint16_t>(std::stoul(argv[3]))};
  plan.target = argv[4];
  plan.host = argv[5];
  if (argc > 6) plan.connections = std::stoull(argv[6]);
  if (argc > 7) plan.seconds = std::stod(argv[7]);
  return std::string(argv[1]) == "download" ? run_download(plan) : run_rps(plan);
}
