// The local HTTP server and client over real sockets: what they answer, what they refuse, and
// that peers which stall, by the thousand, hold nobody else up.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "base/file.h"
#include "http/message.h"
#include "http/unix_client.h"
#include "http/unix_server.h"
#include "http/url.h"

namespace sluice::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience = 5s;

// More than a Unix socket's buffers take, so that a peer which does not read stalls the writer.
constexpr size_t kStallingBody = 512u << 10;

std::string make_scratch_folder() {
  std::string path = testing::TempDir() + "http-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  return path;
}

// A bare peer, for everything that a well-behaved client does not do.
class Peer {
 public:
  Peer() : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}

  bool connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return fd_ &&
           ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  bool write(std::string_view text) {
    return send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size());
  }
  bool readable(milliseconds patience) {
    pollfd event{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return poll(&event, 1, int(patience.count())) > 0;
  }
  // Up to the end of the stream, or to `last`; empty as well when patience ends first.
  std::string read_until(std::string_view last = {}) {
    std::string out;
    while (last.empty() || out.find(last) == std::string::npos) {
      if (!readable(kPatience)) return {};
      char chunk[4096];
      const ssize_t n = recv(fd_.get(), chunk, sizeof chunk, 0);
      if (n <= 0) break;
      out.append(chunk, size_t(n));
    }
    return out;
  }
  bool closed_by_server(milliseconds patience = kPatience) {
    char byte;
    return readable(patience) && recv(fd_.get(), &byte, 1, 0) <= 0;
  }
  // The server's end is closed, whatever of its answer is still unread here.
  bool hung_up() {
    pollfd event{.fd = fd_.get(), .events = 0, .revents = 0};
    return poll(&event, 1, int(kPatience.count())) > 0 && (event.revents & POLLHUP) != 0;
  }
  int fd() const { return fd_.get(); }
  void close() { fd_ = Fd{}; }

 private:
  Fd fd_;
};

// A server on a thread of its own; the default handler echoes the request as text.
class HttpTest : public testing::Test {
 protected:
  HttpTest() : folder_(make_scratch_folder()), path_(folder_ + "/test.sock") {
    options_.path = path_;
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 16384);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~HttpTest() override {
    stop();
    [[maybe_unused]] const int rc = std::system(("rm -rf '" + folder_ + "'").c_str());
  }

  static void echo(Request request, Respond respond) {
    std::string text = request.method + " " + request.path;
    for (const auto& [key, value] : request.query) text += " " + key + "=" + value;
    respond({.content_type = "text/plain", .body = text + " [" + request.body + "]"});
  }

  void start(Handler handler = echo) {
    auto server = UnixServer::listen(io_, options_, std::move(handler));
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    thread_ = std::thread([this] {
      const auto work = boost::asio::make_work_guard(io_);
      io_.run();
    });
  }
  void stop() {
    if (thread_.joinable()) {
      on_server_thread([this] { server_.reset(); });
      io_.stop();
      thread_.join();
      io_.restart();
    }
    server_.reset();
  }
  void on_server_thread(std::function<void()> work) {
    std::promise<void> done;
    boost::asio::post(io_, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  Result<Response> get(std::string_view target, milliseconds timeout = kPatience) {
    return UnixClient(path_).request("GET", target, "", timeout);
  }
  std::unique_ptr<Peer> connected_peer() {
    auto peer = std::make_unique<Peer>();
    EXPECT_TRUE(peer->connect(path_));
    return peer;
  }

  const std::string folder_;
  const std::string path_;
  ServerOptions options_;
  boost::asio::io_context io_;
  std::unique_ptr<UnixServer> server_;
  std::thread thread_;
};

// --- secrets ----------------------------------------------------------------------------------

// Bodies arrive as what they are; several on one connection do not mix.
TEST_F(HttpTest, ABodyThatIsASecretComesApart) {
  start([](const Request& r, const Respond& respond) {
    respond({.content_type = "text/plain",
             .body = r.content_type + " [" + r.body + "] [" +
                     std::string(r.secret.begin(), r.secret.end()) + "]"});
  });
  UnixClient client(path_);
  const std::string large(100'000, 's');
  for (const std::string& body : {std::string("s3cret"), large, std::string("x")}) {
    auto r = client.request("POST", "/", body, kPatience, kSecretType);
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->body, "application/octet-stream [] [" + body + "]");
    r = client.request("POST", "/", body, kPatience);
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->body, "application/json [" + body + "] []");
  }
  // Two at once, in one piece: what the first one leaves in the buffer is the second's.
  auto peer = connected_peer();
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n";
  ASSERT_TRUE(peer->write(head + "Content-Type: application/octet-stream\r\n\r\nab" + head +
                          "Connection: close\r\n\r\ncd"));
  const std::string answers = peer->read_until();
  EXPECT_NE(answers.find("[] [ab]"), std::string::npos) << answers;
  EXPECT_NE(answers.find("[cd] []"), std::string::npos) << answers;
}

// --- targets ---------------------------------------------------------------------------------

TEST(HttpUrl, PercentCodingIsReversible) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(percent_encode("a b/ü~"), "a%20b%2F%C3%BC~");
  EXPECT_EQ(percent_decode(percent_encode(all)).value(), all);
  EXPECT_EQ(percent_decode("%4a%4A+").value(), "JJ+");
}

TEST(HttpUrl, RefusesBrokenTargets) {
  for (const char* target : {"", "x", "*", "http://h/", "/%", "/%4", "/%g0", "/%0g", "/%00",
                             "/a?b=%", "/a?%=b", "/a?b=1&b=2", "/a#b"}) {
    const auto parsed = parse_target(target);
    ASSERT_FALSE(parsed) << target;
    EXPECT_EQ(parsed.error().code, ErrorCode::kUsage) << target;
  }
}

TEST(HttpUrl, SplitsTheQuery) {
  const auto parsed = parse_target("/v1/a%2Fb?x=1+2&y&&z=%26%3d&=e").value();
  EXPECT_EQ(parsed.path, "/v1/a/b");
  const std::map<std::string, std::string> expected{
      {"x", "1 2"}, {"y", ""}, {"z", "&="}, {"", "e"}};
  EXPECT_EQ(parsed.query, expected);
}

// --- errors ----------------------------------------------------------------------------------

TEST(HttpMessage, EveryErrorSurvivesTheTrip) {
  for (size_t i = 0; i < std::size(kErrorTable); ++i) {
    const Error error{static_cast<ErrorCode>(i), "a \"quoted\" sentence"};
    const Response response = error_response(error);
    EXPECT_EQ(response.status, kErrorTable[i].http_status);
    const Error back = error_from(response);
    EXPECT_EQ(back.code, error.code);
    EXPECT_EQ(back.message, error.message);
  }
  EXPECT_EQ(error_response({ErrorCode::kNotFound, "no peer x"}).body,
            R"({"error":{"code":"not_found","message":"no peer x"}})");
}

TEST(HttpMessage, SurvivesBytesThatAreNotUtf8AndForeignBodies) {
  EXPECT_NE(error_response({ErrorCode::kUsage, "bad \xff byte"}).body.find("bad "),
            std::string::npos);
  for (const char* body : {"", "oops", "[]", "{\"error\":5}", "{\"error\":{\"code\":5}}",
                           R"({"error":{"code":"no such","message":"m"}})"}) {
    const Error error = error_from({.status = 502, .body = body});
    EXPECT_EQ(error.code, ErrorCode::kInternal);
    EXPECT_NE(error.message.find("502"), std::string::npos) << error.message;
  }
}

// --- requests and answers --------------------------------------------------------------------

TEST_F(HttpTest, CarriesMethodPathQueryAndBody) {
  start();
  UnixClient client(path_);
  const auto response =
      client.request("POST", "/v1/edges%20x?from=a%26b&to=c", "{\"n\":1}", kPatience);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->content_type, "text/plain");
  EXPECT_EQ(response->body, "POST /v1/edges x from=a&b to=c [{\"n\":1}]");
}

TEST_F(HttpTest, CarriesLargeBodiesBothWays) {
  start([](Request request, Respond respond) { respond({.body = std::move(request.body)}); });
  std::string body(8u << 20, 'x');
  for (size_t i = 0; i < body.size(); i += 4093) body[i] = static_cast<char>(i);
  const auto response = UnixClient(path_).request("PUT", "/", body, kPatience);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_TRUE(response->body == body);
}

TEST_F(HttpTest, GivesThePeersCredentials) {
  start([](Request request, Respond respond) {
    respond({.body = std::to_string(request.peer.pid) + " " + std::to_string(request.peer.uid) +
                     " " + std::to_string(request.peer.gid)});
  });
  EXPECT_EQ(get("/").value().body, std::to_string(getpid()) + " " + std::to_string(geteuid()) +
                                       " " + std::to_string(getegid()));
}

TEST_F(HttpTest, HeadAndNoContentHaveNoBody) {
  start([](Request request, Respond respond) {
    respond({.status = request.path == "/none" ? 204 : 200, .body = "12345"});
  });
  const auto peer = connected_peer();
  ASSERT_TRUE(
      peer->write("HEAD / HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\n"
                  "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"));
  const std::string text = peer->read_until();
  EXPECT_EQ(text.find("12345"), text.size() - 5) << text;
  EXPECT_NE(text.find("Content-Length: 5"), std::string::npos) << text;
  EXPECT_NE(text.find("204 No Content"), std::string::npos) << text;
}

TEST_F(HttpTest, AnswersExpectContinue) {
  start();
  const auto peer = connected_peer();
  ASSERT_TRUE(peer->write("PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(peer->read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(peer->write("ab"));
  EXPECT_NE(peer->read_until("[ab]").find("200 OK"), std::string::npos);
}

TEST_F(HttpTest, MalformedRequestsAreAnsweredAndClosed) {
  start();
  for (const char* text :
       {"nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /%zz HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    const auto peer = connected_peer();
    ASSERT_TRUE(peer->write(text));
    const std::string answer = peer->read_until();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << text << answer;
    EXPECT_NE(answer.find("\"code\":\"usage\""), std::string::npos) << answer;
  }
}

TEST_F(HttpTest, TooLargeBodiesAndHeadersAre413) {
  options_.body_limit = 1000;
  start();
  UnixClient client(path_);
  EXPECT_EQ(client.request("POST", "/", std::string(1000, 'x'), kPatience).value().status, 200);
  for (const size_t size : {size_t{1001}, size_t{4u << 20}}) {
    const auto response = client.request("POST", "/", std::string(size, 'x'), kPatience);
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 413);
    EXPECT_EQ(error_from(*response).code, ErrorCode::kTooLarge);
  }
  const auto chunked = connected_peer();
  ASSERT_TRUE(chunked->write("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
                             std::string(1001, 'x')));
  EXPECT_TRUE(chunked->read_until("}}").starts_with("HTTP/1.1 413 "));
  const auto header = connected_peer();
  ASSERT_TRUE(header->write("GET / HTTP/1.1\r\nX: " + std::string(20000, 'x')));
  EXPECT_TRUE(header->read_until("}}").starts_with("HTTP/1.1 413 "));
}

TEST_F(HttpTest, ARefusedPeerThatIsStillSendingMeetsNoBrokenPipe) {
  options_.body_limit = 10;
  start();
  const auto peer = connected_peer();
  ASSERT_TRUE(peer->write("POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n"));
  EXPECT_TRUE(peer->read_until().starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(peer->write(std::string(2000, 'x')));
}

TEST_F(HttpTest, AllowDecidesPerConnection) {
  std::atomic<int> asked{0};
  std::atomic<bool> open{false};
  options_.allow = [&](const PeerCredentials& peer) {
    ++asked;
    return open && peer.uid == geteuid();
  };
  std::atomic<int> handled{0};
  start([&](Request request, Respond respond) {
    ++handled;
    echo(std::move(request), std::move(respond));
  });
  UnixClient client(path_);
  const auto refused = client.request("POST", "/", std::string(1u << 20, 'x'), kPatience);
  ASSERT_TRUE(refused) << refused.error().message;
  EXPECT_EQ(refused->status, 403);
  EXPECT_EQ(error_from(*refused).code, ErrorCode::kPermission);
  EXPECT_EQ(handled, 0);
  const auto silent = connected_peer();
  EXPECT_TRUE(silent->read_until().starts_with("HTTP/1.1 403 "));
  open = true;
  EXPECT_EQ(client.request("GET", "/", "", kPatience).value().status, 200);
  EXPECT_EQ(client.request("GET", "/", "", kPatience).value().status, 200);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(handled, 2);
}

// --- the handler's answer --------------------------------------------------------------------

// Keeps each Respond under its request's path, to be called later on the server's thread.
struct Deferred {
  std::mutex mutex;
  std::map<std::string, Respond> pending;
  std::atomic<size_t> count{0};

  Handler handler() {
    return [this](Request request, Respond respond) {
      const std::lock_guard lock(mutex);
      pending[request.path] = std::move(respond);
      ++count;
    };
  }
  bool wait_for(size_t n) const {
    const auto deadline = steady_clock::now() + kPatience;
    while (count < n && steady_clock::now() < deadline) std::this_thread::yield();
    return count >= n;
  }
};

TEST_F(HttpTest, DeferredAnswersReachTheirRequests) {
  Deferred deferred;
  start(deferred.handler());
  auto one = std::async(std::launch::async, [&] { return get("/one"); });
  auto two = std::async(std::launch::async, [&] { return get("/two"); });
  ASSERT_TRUE(deferred.wait_for(2));
  EXPECT_EQ(one.wait_for(0s), std::future_status::timeout);
  on_server_thread([&] {
    deferred.pending["/two"]({.body = "2"});
    deferred.pending["/one"]({.body = "1"});
    deferred.pending["/one"]({.body = "again"});  // has no effect
  });
  EXPECT_EQ(one.get().value().body, "1");
  EXPECT_EQ(two.get().value().body, "2");
}

TEST_F(HttpTest, AnswersOfOneConnectionKeepTheirOrder) {
  Deferred deferred;
  start([&, hold = deferred.handler()](Request request, Respond respond) {
    if (request.path == "/slow") return hold(std::move(request), std::move(respond));
    echo(std::move(request), std::move(respond));
  });
  const auto peer = connected_peer();
  ASSERT_TRUE(
      peer->write("GET /slow HTTP/1.1\r\n\r\nGET /fast HTTP/1.1\r\n\r\n"
                  "GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"));
  ASSERT_TRUE(deferred.wait_for(1));
  EXPECT_EQ(get("/other").value().status, 200);
  EXPECT_FALSE(peer->readable(0ms));
  on_server_thread([&] { deferred.pending["/slow"]({.body = "slow"}); });
  const std::string text = peer->read_until();
  EXPECT_LT(text.find("slow"), text.find("GET /fast []"));
  EXPECT_LT(text.find("GET /fast []"), text.find("GET /last []"));
  EXPECT_NE(text.find("GET /last []"), std::string::npos) << text;
}

TEST_F(HttpTest, DroppedRequestsAndExceptionsAre500) {
  start([](Request request, Respond respond) {
    if (request.path == "/throw") throw std::runtime_error("handler failed");
    if (request.path == "/status") respond({.status = 42});
  });
  for (const char* path : {"/drop", "/throw", "/status"}) {
    const auto response = get(path);
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 500) << path;
    EXPECT_EQ(error_from(*response).code, ErrorCode::kInternal);
  }
}

TEST_F(HttpTest, AnswersForTheDeadAreIgnored) {
  Deferred deferred;
  options_.max_connections = 1;
  start(deferred.handler());
  auto peer = connected_peer();
  ASSERT_TRUE(peer->write("GET /dead HTTP/1.1\r\n\r\n"));
  ASSERT_TRUE(deferred.wait_for(1));
  EXPECT_EQ(get("/full").value().status, 503);  // a request that waits for its answer stays
  peer->close();
  // Its place is free although the handler has not answered.
  auto next = std::async(std::launch::async, [&] {
    auto response = get("/next");
    for (int i = 0; i < 100 && response && response->status == 503; ++i) response = get("/next");
    return response;
  });
  ASSERT_TRUE(deferred.wait_for(2));
  on_server_thread([&] {
    deferred.pending["/dead"]({.body = "dead"});
    deferred.pending["/next"]({.body = "next"});
  });
  EXPECT_EQ(next.get().value().body, "next");
  // A Respond outlives the server.
  auto last = connected_peer();
  ASSERT_TRUE(last->write("GET /last HTTP/1.1\r\n\r\n"));
  ASSERT_TRUE(deferred.wait_for(3));
  stop();
  EXPECT_TRUE(last->closed_by_server());
  deferred.pending["/last"]({.body = "late"});
}

// --- the socket's name -----------------------------------------------------------------------

TEST_F(HttpTest, CreatesAndRemovesItsName) {
  options_.mode = 0620;
  const gid_t other = geteuid() == 0 ? getegid() + 1 : getegid();
  options_.group = other;
  const mode_t old_mask = umask(0177);
  start();
  umask(old_mask);
  struct stat st {};
  ASSERT_EQ(lstat(path_.c_str(), &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_EQ(st.st_mode & 07777, 0620u);
  EXPECT_EQ(st.st_gid, other);
  EXPECT_EQ(get("/").value().status, 200);
  stop();
  // Neither it nor a helper of its start remains.
  size_t entries = 0;
  DIR* const dir = opendir(folder_.c_str());
  while (readdir(dir) != nullptr) ++entries;
  closedir(dir);
  EXPECT_EQ(entries, 2u);
}

TEST_F(HttpTest, ReplacesAStaleSocket) {
  {
    const Fd dead(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_EQ(get("/").error().code, ErrorCode::kUnreachable);
  start();
  EXPECT_EQ(get("/").value().status, 200);
}

TEST_F(HttpTest, SurvivesAStartThatWasCutShort) {
  std::ofstream(path_ + ".lock").close();
  const Fd dead(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (path_ + ".new").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  start();
  EXPECT_EQ(get("/").value().status, 200);
}

TEST_F(HttpTest, RespectsALiveSocket) {
  start();
  ServerOptions second = options_;
  second.service = "relayd";
  const auto server = UnixServer::listen(io_, second, echo);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::kConflict);
  EXPECT_EQ(server.error().message, "another relayd is already listening on " + path_);
  EXPECT_EQ(get("/").value().status, 200);
}

TEST_F(HttpTest, OfManyThatReplaceAStaleSocketOneWins) {
  for (int round = 0; round < 50; ++round) {
    {
      const Fd dead(socket(AF_UNIX, SOCK_STREAM, 0));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path_.copy(address.sun_path, sizeof address.sun_path - 1);
      ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    std::atomic<int> ready{0};
    std::vector<std::future<Result<std::unique_ptr<UnixServer>>>> starters;
    std::vector<std::unique_ptr<boost::asio::io_context>> contexts;
    for (int i = 0; i < 4; ++i) {
      contexts.push_back(std::make_unique<boost::asio::io_context>());
      starters.push_back(std::async(std::launch::async, [&, context = contexts.back().get()] {
        for (++ready; ready < 4;) std::this_thread::yield();
        return UnixServer::listen(*context, options_, echo);
      }));
    }
    std::vector<Result<std::unique_ptr<UnixServer>>> results;
    for (auto& starter : starters) results.push_back(starter.get());
    int winners = 0;
    for (const auto& result : results) {
      if (result) {
        ++winners;
      } else {
        EXPECT_EQ(result.error().code, ErrorCode::kConflict) << result.error().message;
      }
    }
    EXPECT_EQ(winners, 1);
    EXPECT_TRUE(Peer().connect(path_));  // the winner still has the name
  }
}

TEST_F(HttpTest, LeavesOtherFilesAlone) {
  const std::string target = folder_ + "/target";
  std::ofstream(target) << "precious";
  const auto expect_conflict = [&] {
    const auto server = UnixServer::listen(io_, options_, echo);
    ASSERT_FALSE(server);
    EXPECT_EQ(server.error().code, ErrorCode::kConflict);
    EXPECT_NE(server.error().message.find(path_), std::string::npos) << server.error().message;
  };
  struct stat st {};
  ASSERT_EQ(symlink(target.c_str(), path_.c_str()), 0);
  expect_conflict();
  ASSERT_EQ(lstat(path_.c_str(), &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  unlink(path_.c_str());

  ASSERT_EQ(symlink((folder_ + "/nowhere").c_str(), path_.c_str()), 0);
  expect_conflict();
  EXPECT_NE(lstat((folder_ + "/nowhere").c_str(), &st), 0);
  unlink(path_.c_str());

  ASSERT_EQ(rename(target.c_str(), path_.c_str()), 0);
  expect_conflict();
  EXPECT_EQ(read_file(path_).value(), "precious");
}

TEST_F(HttpTest, RemovesOnlyItsOwnName) {
  start();
  ASSERT_EQ(unlink(path_.c_str()), 0);
  std::ofstream(path_) << "a successor's";
  stop();
  EXPECT_EQ(read_file(path_).value(), "a successor's");
}

TEST_F(HttpTest, RefusesUnusablePaths) {
  for (const std::string& path : {std::string(), std::string(104, 'x'), std::string("a\0b", 3)}) {
    options_.path = path;
    EXPECT_EQ(UnixServer::listen(io_, options_, echo).error().code, ErrorCode::kConfig);
  }
  options_.path = folder_ + "/missing/test.sock";
  EXPECT_EQ(UnixServer::listen(io_, options_, echo).error().code, ErrorCode::kResource);
}

// --- peers that stall ------------------------------------------------------------------------

TEST_F(HttpTest, AThousandStalledPeersDelayNobody) {
  start([](Request request, Respond respond) {
    if (request.path == "/large") return respond({.body = std::string(kStallingBody, 'x')});
    echo(std::move(request), std::move(respond));
  });
  std::vector<std::unique_ptr<Peer>> stalled;
  for (int i = 0; i < 1000; ++i) {
    stalled.push_back(connected_peer());
    if (i % 3 == 1) {
      ASSERT_TRUE(stalled.back()->write("POST /half HTTP/1.1\r\nContent-Length: 9"));
    }
    if (i % 3 == 2) {
      ASSERT_TRUE(stalled.back()->write("GET /large HTTP/1.1\r\n\r\n"));
      ASSERT_TRUE(stalled.back()->readable(kPatience));
    }
  }
  std::vector<steady_clock::duration> took;
  for (int i = 0; i < 101; ++i) {
    const auto begin = steady_clock::now();
    const auto response = get("/now");
    took.push_back(steady_clock::now() - begin);
    ASSERT_TRUE(response) << response.error().message;
    ASSERT_EQ(response->body, "GET /now []");
  }
  std::sort(took.begin(), took.end());
  EXPECT_LT(took[took.size() / 2], 5ms);
  // All are still there: they were borne, not thrown out.
  for (size_t i = 0; i < stalled.size(); ++i) {
    ASSERT_EQ(stalled[i]->readable(0ms), i % 3 == 2) << i;
  }
  ASSERT_TRUE(stalled[1]->write("\r\n\r\n123456789"));
  EXPECT_NE(stalled[1]->read_until("[123456789]"), "");
}

TEST_F(HttpTest, StalledPeersAreGivenUpInTime) {
  options_.read_timeout = 100ms;
  options_.write_timeout = 100ms;
  options_.idle_timeout = 300ms;
  start([](Request request, Respond respond) {
    respond({.body = std::string(request.path == "/large" ? kStallingBody : 1, 'x')});
  });
  const auto begin = steady_clock::now();
  const auto silent = connected_peer();
  const auto half = connected_peer();
  const auto deaf = connected_peer();
  const auto idle = connected_peer();
  ASSERT_TRUE(half->write("GET / HT"));
  ASSERT_TRUE(deaf->write("GET /large HTTP/1.1\r\n\r\n"));
  ASSERT_TRUE(idle->write("GET / HTTP/1.1\r\n\r\n"));
  ASSERT_NE(idle->read_until("\r\n\r\nx"), "");
  // One that sends a byte now and then is not spared.
  bool alive = true;
  while (alive && steady_clock::now() - begin < kPatience) {
    if (half->readable(20ms)) break;
    alive = half->write("T");
  }
  EXPECT_LT(steady_clock::now() - begin, kPatience);
  EXPECT_TRUE(silent->closed_by_server());
  EXPECT_TRUE(deaf->hung_up());
  EXPECT_LT(deaf->read_until().size(), kStallingBody);
  EXPECT_TRUE(idle->closed_by_server());
  EXPECT_GE(steady_clock::now() - begin, 300ms);
}

TEST_F(HttpTest, AtTheLimitTheLongestWaitingMakesRoom) {
  Deferred deferred;
  options_.max_connections = 3;
  start([&, hold = deferred.handler()](Request request, Respond respond) {
    if (request.path == "/hold") return hold(std::move(request), std::move(respond));
    echo(std::move(request), std::move(respond));
  });
  const auto working = connected_peer();  // the oldest of all, but it has a complete request
  ASSERT_TRUE(working->write("GET /hold HTTP/1.1\r\n\r\n"));
  ASSERT_TRUE(deferred.wait_for(1));
  const auto active = connected_peer();
  const auto silent = connected_peer();
  // A served request puts the older one behind the silent one.
  ASSERT_TRUE(active->write("GET /a HTTP/1.1\r\n\r\n"));
  ASSERT_NE(active->read_until("[]"), "");
  const auto fresh = connected_peer();
  EXPECT_TRUE(silent->closed_by_server());
  EXPECT_FALSE(active->readable(0ms));
  ASSERT_TRUE(fresh->write("GET /half"));
  EXPECT_EQ(get("/b").value().status, 200);
  EXPECT_TRUE(active->closed_by_server());
  EXPECT_FALSE(fresh->readable(0ms));
  on_server_thread([&] { deferred.pending["/hold"]({.body = "kept"}); });
  EXPECT_NE(working->read_until("kept"), "");
}

TEST_F(HttpTest, PeersThatDoNotReadMakeRoomToo) {
  options_.max_connections = 2;
  start([](Request, Respond respond) { respond({.body = std::string(kStallingBody, 'x')}); });
  const auto first = connected_peer();
  const auto second = connected_peer();
  for (const auto* peer : {&first, &second}) {
    ASSERT_TRUE((*peer)->write("GET / HTTP/1.1\r\n\r\n"));
    ASSERT_TRUE((*peer)->readable(kPatience));
  }
  EXPECT_EQ(get("/").value().body.size(), kStallingBody);
  EXPECT_LT(first->read_until().size(), kStallingBody);
}

// Lets the process open `spare` more descriptors while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(int spare) {
    getrlimit(RLIMIT_NOFILE, &old_);
    const Fd next(open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit limit = old_;
    limit.rlim_cur = rlim_t(next.get() + spare);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &old_); }

 private:
  rlimit old_{};
};

TEST_F(HttpTest, WithoutDescriptorsTheLongestWaitingMakesRoom) {
  start();
  std::vector<Peer> peers(20);
  const DescriptorLimit limit(5);
  for (Peer& peer : peers) ASSERT_TRUE(peer.connect(path_));
  ASSERT_TRUE(peers.back().write("GET /last HTTP/1.1\r\n\r\n"));
  EXPECT_NE(peers.back().read_until("GET /last []"), "");
  EXPECT_TRUE(peers.front().closed_by_server());
  EXPECT_FALSE(peers[18].readable(0ms));
}

TEST_F(HttpTest, WithoutDescriptorsItWaitsAtRest) {
  start();
  Peer peer;
  const auto cpu_time = [] {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  {
    const DescriptorLimit limit(0);
    ASSERT_TRUE(peer.connect(path_));
    ASSERT_TRUE(peer.write("GET /patient HTTP/1.1\r\n\r\n"));
    const auto before = cpu_time();
    EXPECT_FALSE(peer.readable(400ms));
    EXPECT_LT(cpu_time() - before, 100ms);
  }
  EXPECT_NE(peer.read_until("GET /patient []"), "");
}

// --- the client ------------------------------------------------------------------------------

TEST_F(HttpTest, ClientSaysWhyItCannotConnect) {
  UnixClient client(path_, "relayd");
  const auto missing = client.request("GET", "/", "", kPatience);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kUnreachable);
  EXPECT_EQ(missing.error().message, "relayd does not answer on " + path_ + ": is it running?");
  EXPECT_EQ(UnixClient("").request("GET", "/", "", kPatience).error().code, ErrorCode::kConfig);
  for (const auto& [method, target] :
       {std::pair{"GE T", "/"}, {"", "/"}, {"GET", "x"}, {"GET", "/a b"}, {"GET", "/\r\nX: y"}}) {
    EXPECT_EQ(client.request(method, target, "", kPatience).error().code, ErrorCode::kUsage);
  }
}

TEST_F(HttpTest, ClientNamesTheRemedyForMissingPermission) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  options_.mode = 0660;
  start();
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    const auto response = get("/");
    _exit(!response && response.error().code == ErrorCode::kPermission &&
                  response.error().message.find("member of the group root") != std::string::npos
              ? 0
              : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(HttpTest, ClientKeepsItsTimeout) {
  Deferred deferred;
  start(deferred.handler());
  UnixClient client(path_);
  const auto begin = steady_clock::now();
  const auto response = client.request("GET", "/never", "", 100ms);
  const auto took = steady_clock::now() - begin;
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kTimeout);
  EXPECT_GE(took, 100ms);
  EXPECT_LT(took, 1s);
  // The late answer to the first request is not taken for that to the second.
  auto second = std::async(std::launch::async,
                           [&] { return client.request("GET", "/second", "", kPatience); });
  ASSERT_TRUE(deferred.wait_for(2));
  on_server_thread([&] {
    deferred.pending["/never"]({.body = "late"});
    deferred.pending["/second"]({.body = "second"});
  });
  EXPECT_EQ(second.get().value().body, "second");
}

// A server of one scripted move per connection, for what the real one never does.
class ScriptedServer {
 public:
  using Move = std::function<void(int connection)>;
  ScriptedServer(const std::string& path, int backlog, std::vector<Move> moves)
      : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    listen(fd_.get(), backlog);
    thread_ = std::thread([this, script = std::move(moves)] {
      for (const Move& move : script) {
        pollfd event{.fd = fd_.get(), .events = POLLIN, .revents = 0};
        if (poll(&event, 1, int(kPatience.count())) <= 0) return;
        const Fd connection(accept(fd_.get(), nullptr, nullptr));
        ++accepted;
        move(connection.get());
      }
    });
  }
  ~ScriptedServer() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  static void read_request(int connection) {
    std::string text;
    char byte;
    while (!text.ends_with("\r\n\r\n") && recv(connection, &byte, 1, 0) == 1) text += byte;
  }
  static void answer(int connection, std::string_view body) {
    read_request(connection);
    const std::string text = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                             "\r\n\r\n" + std::string(body);
    send(connection, text.data(), text.size(), MSG_NOSIGNAL);
  }

  std::atomic<int> accepted{0};

 private:
  Fd fd_;
  std::thread thread_;
};

TEST_F(HttpTest, ClientBoundsItsWaitForTheBacklog) {
  std::promise<void> done;
  ScriptedServer server(path_, 0, {[&](int) { done.get_future().wait(); }});
  std::vector<std::unique_ptr<Peer>> queue;  // one served, one in the backlog
  queue.push_back(connected_peer());
  while (server.accepted == 0) std::this_thread::yield();
  queue.push_back(connected_peer());
  const auto begin = steady_clock::now();
  EXPECT_EQ(get("/", 100ms).error().code, ErrorCode::kTimeout);
  EXPECT_LT(steady_clock::now() - begin, 1s);
  done.set_value();
}

TEST_F(HttpTest, ClientKeepsItsConnection) {
  std::atomic<int> connections{0};
  options_.allow = [&](const PeerCredentials&) { return ++connections > 0; };
  start();
  UnixClient client(path_);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.request("GET", "/", "", kPatience)->status, 200);
  EXPECT_EQ(connections, 1);
}

TEST_F(HttpTest, ClientReplacesAConnectionThatClosedWhileIdle) {
  start();
  UnixClient client(path_);
  EXPECT_EQ(client.request("GET", "/1", "", kPatience).value().body, "GET /1 []");
  stop();
  EXPECT_EQ(client.request("GET", "/2", "", kPatience).error().code, ErrorCode::kUnreachable);
  start();
  EXPECT_EQ(client.request("GET", "/3", "", kPatience).value().body, "GET /3 []");
}

TEST_F(HttpTest, ClientRepeatsARequestThatWasNotRead) {
  ScriptedServer server(path_, 5,
                        {[](int fd) {
                           ScriptedServer::answer(fd, "first");
                           // The next request arrives and is left unread.
                           pollfd event{.fd = fd, .events = POLLIN, .revents = 0};
                           poll(&event, 1, int(kPatience.count()));
                         },
                         [](int fd) { ScriptedServer::answer(fd, "second"); }});
  UnixClient client(path_);
  EXPECT_EQ(client.request("POST", "/", "", kPatience).value().body, "first");
  const auto second = client.request("POST", "/", "", kPatience);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->body, "second");
}

TEST_F(HttpTest, ClientDoesNotTakeUnaskedBytesForAnAnswer) {
  std::promise<void> received;
  std::promise<void> sent;
  ScriptedServer server(path_, 5,
                        {[&](int fd) {
                           ScriptedServer::answer(fd, "first");
                           received.get_future().wait();
                           pollfd event{.fd = fd, .events = POLLIN, .revents = 0};
                           constexpr std::string_view kStray =
                               "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
                           send(fd, kStray.data(), kStray.size(), MSG_NOSIGNAL);
                           sent.set_value();
                           poll(&event, 1, int(kPatience.count()));
                         },
                         [](int fd) { ScriptedServer::answer(fd, "second"); }});
  UnixClient client(path_);
  EXPECT_EQ(client.request("GET", "/", "", kPatience).value().body, "first");
  received.set_value();
  sent.get_future().wait();
  EXPECT_EQ(client.request("GET", "/", "", kPatience).value().body, "second");
}

TEST_F(HttpTest, ClientLeavesAConnectionThatTheServerWillClose) {
  std::promise<ssize_t> next;
  ScriptedServer server(path_, 5,
                        {[&](int fd) {
                           ScriptedServer::read_request(fd);
                           constexpr std::string_view kLast =
                               "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                               "Connection: close\r\n\r\n";
                           send(fd, kLast.data(), kLast.size(), MSG_NOSIGNAL);
                           char byte;
                           next.set_value(recv(fd, &byte, 1, 0));
                         },
                         [](int fd) { ScriptedServer::answer(fd, "second"); }});
  UnixClient client(path_);
  EXPECT_EQ(client.request("GET", "/", "", kPatience).value().status, 200);
  EXPECT_EQ(client.request("GET", "/", "", kPatience).value().body, "second");
  EXPECT_EQ(next.get_future().get(), 0);
}

TEST_F(HttpTest, ClientNeverRepeatsARequestThatMayHaveBeenServed) {
  ScriptedServer server(path_, 5, {[](int fd) {
                          ScriptedServer::answer(fd, "first");
                          ScriptedServer::read_request(fd);
                        }});
  UnixClient client(path_);
  EXPECT_EQ(client.request("POST", "/", "", kPatience).value().body, "first");
  EXPECT_EQ(client.request("POST", "/", "", kPatience).error().message,
            "the server on " + path_ + " closed the connection without an answer");
  server.join();
  EXPECT_EQ(server.accepted, 1);
}

TEST_F(HttpTest, ClientDoesNotRepeatOnAFreshConnection) {
  ScriptedServer server(path_, 5, {[](int fd) {
                          pollfd event{.fd = fd, .events = POLLIN, .revents = 0};
                          poll(&event, 1, int(kPatience.count()));
                        }});
  EXPECT_EQ(get("/").error().message,
            "the server on " + path_ + " closed the connection without reading the request");
}

TEST_F(HttpTest, ClientRefusesTornAndForeignAnswers) {
  const auto say = [](std::string_view text) {
    return [text](int fd) {
      ScriptedServer::read_request(fd);
      send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    };
  };
  ScriptedServer server(
      path_, 5,
      {say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), say("HTTP/1.1 200 O"),
       say("SSH-2.0-x\r\n"), say("HTTP/1.1 200 OK\r\n\r\nup to the end")});
  EXPECT_NE(get("/").error().message.find("in the middle"), std::string::npos);
  EXPECT_NE(get("/").error().message.find("in the middle"), std::string::npos);
  EXPECT_NE(get("/").error().message.find("does not speak HTTP"), std::string::npos);
  EXPECT_EQ(get("/").value().body, "up to the end");
}

}  // namespace
}  // namespace sluice::http
