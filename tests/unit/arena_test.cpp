// The table segment with ordinary pages: sizes, header, where each table lies, what the kernel was
// told about it, and that the tables do not overlap.
#include "fabric/arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstddef>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "crypto/aead.h"

namespace sluice::fabric {
namespace {

constexpr size_t kTwoMiB = 2u << 20;

const ArenaSizes kSizes[] = {
    {1, 1, 1, 1, 1},          {3, 5, 7, 2, 3}, {100, 1000, 50, 4, 2},
    {1000, 4000, 1000, 3, 4}, {0, 0, 0, 1, 1},
};

std::unique_ptr<Arena> make(const ArenaSizes& sizes) {
  auto arena = Arena::create(sizes, PageKind::kSmall);
  EXPECT_TRUE(arena) << arena.error().message;
  return arena ? std::move(*arena) : nullptr;
}

const uint8_t* base(const Arena& arena) {
  return reinterpret_cast<const uint8_t*>(&arena.header());
}

// The lines of smaps that describe the mapping which begins at `p`.
std::vector<std::string> mapping(const void* p) {
  std::ostringstream start;
  start << std::hex << reinterpret_cast<uintptr_t>(p) << '-';
  std::ifstream in("/proc/self/smaps");
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(start.str())) {
      out.push_back(line);
    } else if (!out.empty()) {
      if (line.find(' ') > line.find('-')) break;  // the next mapping's range
      out.push_back(line);
    }
  }
  return out;
}

TEST(Arena, NeededIsWhatIsMapped) {
  for (const ArenaSizes& sizes : kSizes) {
    const auto arena = make(sizes);
    ASSERT_TRUE(arena);
    const size_t needed = Arena::needed(sizes);
    EXPECT_EQ(needed % kTwoMiB, 0u);
    EXPECT_GT(needed, 0u);
    EXPECT_EQ(arena->header().total, needed);
    struct stat st {};
    ASSERT_EQ(fstat(arena->fd(), &st), 0);
    EXPECT_EQ(size_t(st.st_size), needed);
    const auto lines = mapping(base(*arena));
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines[0].find("sluice-arena"), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find("rw-s"), std::string::npos)
        << "shared, so that a successor can adopt it";
    bool sized = false;
    for (const auto& l : lines) {
      if (l.starts_with("Size:")) sized = std::stoul(l.substr(5)) * 1024 == needed;
    }
    EXPECT_TRUE(sized);
  }
}

TEST(Arena, GrowsWithEveryTable) {
  const ArenaSizes small{1, 1, 1, 1, 1};
  const size_t least = Arena::needed(small);
  for (uint32_t ArenaSizes::*field :
       {&ArenaSizes::agents, &ArenaSizes::edges, &ArenaSizes::sessions}) {
    ArenaSizes more = small;
    more.*field = 100'000;
    EXPECT_GE(Arena::needed(more), least + 100'000 * 128u - kTwoMiB);
  }
  // More than 4 GiB is computed in 64 bits.
  EXPECT_GT(Arena::needed({1u << 20, 1u << 24, 1u << 24, 8, 8}), size_t{32} << 30);
}

TEST(Arena, HeaderDescribesTheLayout) {
  const ArenaSizes sizes{3, 5, 7, 2, 3};
  const auto arena = make(sizes);
  ASSERT_TRUE(arena);
  const ArenaHeader& h = arena->header();
  EXPECT_EQ(h.magic, kArenaMagic);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(base(*arena)), 8), "SLUCREN1");
  EXPECT_EQ(h.layout_version, kArenaLayout);
  EXPECT_EQ(h.header_size, sizeof(ArenaHeader));
  EXPECT_EQ(h.sizes.agents, 3u);
  EXPECT_EQ(h.sizes.edges, 5u);
  EXPECT_EQ(h.sizes.sessions, 7u);
  EXPECT_EQ(h.sizes.lanes_in, 2u);
  EXPECT_EQ(h.sizes.workers, 3u);
  EXPECT_EQ(h.session_size, sizeof(Session));
  EXPECT_EQ(h.agent_size, sizeof(Agent));
  EXPECT_EQ(h.edge_size, sizeof(Edge));
  EXPECT_EQ(h.window_size, sizeof(ReplayWindow));
  EXPECT_EQ(h.counters_size, sizeof(WorkerCounters));
  EXPECT_STREQ(h.ipsec_mb_path, crypto::aead().path());
  EXPECT_EQ(std::string(h.ipsec_mb_version), crypto::Aead::library_version());
}

TEST(Arena, TablesAreAlignedInOrderAndApart) {
  for (const ArenaSizes& sizes : kSizes) {
    const auto arena = make(sizes);
    ASSERT_TRUE(arena);
    const ArenaHeader& h = arena->header();
    const struct {
      const char* name;
      uint64_t at, bytes;
    } tables[] = {
        {"relay", h.relay_at, sizeof(RelayRecord)},
        {"agents", h.agents_at, uint64_t{sizes.agents} * sizeof(Agent)},
        {"edges", h.edges_at, uint64_t{sizes.edges} * sizeof(Edge)},
        {"sessions", h.sessions_at, uint64_t{sizes.sessions} * sizeof(Session)},
        {"windows", h.windows_at, uint64_t{sizes.sessions} * sizes.lanes_in * sizeof(ReplayWindow)},
        {"lanes", h.lanes_at, uint64_t{sizes.sessions} * sizes.workers * 8},
        {"counters", h.counters_at, uint64_t{sizes.workers} * sizeof(WorkerCounters)},
    };
    uint64_t end = sizeof(ArenaHeader);
    for (const auto& t : tables) {
      EXPECT_EQ(t.at % 64, 0u) << t.name;
      EXPECT_GE(t.at, end) << t.name << " begins inside the table before it";
      end = t.at + t.bytes;
    }
    EXPECT_LE(end, h.total);

    const auto at = [&arena](const void* p) {
      return uint64_t(static_cast<const uint8_t*>(p) - base(*arena));
    };
    EXPECT_EQ(at(&arena->relay()), h.relay_at);
    EXPECT_EQ(at(arena->agents().data()), h.agents_at);
    EXPECT_EQ(at(arena->edges().data()), h.edges_at);
    EXPECT_EQ(at(arena->sessions().data()), h.sessions_at);
    EXPECT_EQ(arena->agents().size(), sizes.agents);
    EXPECT_EQ(arena->edges().size(), sizes.edges);
    EXPECT_EQ(arena->sessions().size(), sizes.sessions);
    if (sizes.sessions > 0) {
      EXPECT_EQ(at(&arena->window(0, 0)), h.windows_at);
      EXPECT_EQ(
          at(&arena->window(sizes.sessions - 1, sizes.lanes_in - 1)),
          h.windows_at + (uint64_t{sizes.sessions} * sizes.lanes_in - 1) * sizeof(ReplayWindow));
      EXPECT_EQ(at(&arena->lane_counter(0, 0)), h.lanes_at);
      EXPECT_EQ(at(&arena->lane_counter(sizes.workers - 1, sizes.sessions - 1)),
                h.lanes_at + (uint64_t{sizes.sessions} * sizes.workers - 1) * 8);
    }
    EXPECT_EQ(at(&arena->counters(sizes.workers - 1)),
              h.counters_at + (sizes.workers - 1) * sizeof(WorkerCounters));
    for (uint32_t w = 0; w < sizes.workers; ++w) EXPECT_EQ(at(&arena->counters(w)) % 64, 0u);
    for (const Session& s : arena->sessions()) {
      EXPECT_EQ(at(&s) % 64, 0u);
      EXPECT_EQ(at(&s.key_in) % 64, 0u);
      EXPECT_EQ(at(&s.key_out) % 64, 0u);
    }
  }
}

// Each cell gets its own value; none may have changed when all were written.
TEST(Arena, CellsAreDistinct) {
  const ArenaSizes sizes{4, 6, 9, 3, 4};
  const auto arena = make(sizes);
  ASSERT_TRUE(arena);
  uint64_t value = 1;
  for (uint32_t s = 0; s < sizes.sessions; ++s) {
    bool unused = false;
    for (uint32_t l = 0; l < sizes.lanes_in; ++l) arena->window(s, l).commit(value++, unused);
    for (uint32_t w = 0; w < sizes.workers; ++w) arena->lane_counter(w, s) = value++;
    arena->sessions()[s].agent = uint32_t(value++);
  }
  for (Agent& a : arena->agents()) a.address = value++;
  for (Edge& e : arena->edges()) e.tenant = uint32_t(value++);
  for (uint32_t w = 0; w < sizes.workers; ++w)
    arena->counters(w).drops[kDropReasons - 1].add(value++);
  arena->relay().epoch = value++;
  value = 1;
  for (uint32_t s = 0; s < sizes.sessions; ++s) {
    for (uint32_t l = 0; l < sizes.lanes_in; ++l) EXPECT_EQ(arena->window(s, l).next(), ++value);
    for (uint32_t w = 0; w < sizes.workers; ++w) EXPECT_EQ(arena->lane_counter(w, s), value++);
    EXPECT_EQ(arena->sessions()[s].agent, value++);
  }
  for (const Agent& a : arena->agents()) EXPECT_EQ(a.address, value++);
  for (const Edge& e : arena->edges()) EXPECT_EQ(e.tenant, value++);
  for (uint32_t w = 0; w < sizes.workers; ++w) {
    EXPECT_EQ(arena->counters(w).drops[kDropReasons - 1].get(), value++);
  }
  EXPECT_EQ(arena->relay().epoch, value);
  EXPECT_EQ(arena->header().magic, kArenaMagic);
}

TEST(Arena, HistogramsOfLatencyAreEachWorkersOwn) {
  ArenaSizes sizes{1, 2, 1, 1, 3};
  EXPECT_TRUE(make(sizes)->latencies(2).empty());
  const size_t without = Arena::needed(sizes);
  sizes.latencies = 1025;
  EXPECT_GE(Arena::needed(sizes) - without,
            3 * 1025 * sizeof(LatencyHistogram) / kTwoMiB * kTwoMiB);
  const auto arena = make(sizes);
  ASSERT_TRUE(arena);
  EXPECT_EQ(arena->header().latency_size, sizeof(LatencyHistogram));
  uint64_t value = 0;
  for (uint32_t w = 0; w < 3; ++w) {
    ASSERT_EQ(arena->latencies(w).size(), 1025u);
    for (auto& h : arena->latencies(w)) {
      ++value;
      h.add(value, LatencyHistogram::bucket_of(value), 1);
    }
  }
  const auto* first = reinterpret_cast<const uint8_t*>(arena->latencies(0).data());
  EXPECT_EQ(uint64_t(first - base(*arena)), arena->header().latencies_at);
  EXPECT_LE(arena->header().latencies_at + value * sizeof(LatencyHistogram), arena->header().total);
  value = 0;
  for (uint32_t w = 0; w < 3; ++w) {
    for (const auto& h : arena->latencies(w)) {
      EXPECT_EQ(h.longest_ns(), ++value);
      EXPECT_EQ(h.sum_ns(), value);
      EXPECT_EQ(h.in_bucket(LatencyHistogram::bucket_of(value)), 1u);
    }
  }
}

TEST(Latency, BucketsAreSeamlessAndWithinAnEighth) {
  using Scale = LatencyHistogram::Scale;
  uint64_t first = 0;
  for (size_t b = 0; b < LatencyHistogram::kBuckets; ++b) {
    ASSERT_EQ(LatencyHistogram::bucket_of(first), b);
    ASSERT_LE((Scale::last(b) - first) * 8, first) << "bucket " << b;
    first = Scale::last(b) + 1;
  }
  EXPECT_GT(first, LatencyHistogram::kLimit);
  LatencyHistogram h;
  h.add(5'000'000'000, LatencyHistogram::bucket_of(5'000'000'000), 3);
  h.add(7, LatencyHistogram::bucket_of(7), 1);
  EXPECT_EQ(h.in_bucket(LatencyHistogram::kBuckets - 1), 3u) << "what is longer is in the last";
  EXPECT_EQ(h.sum_ns(), 15'000'000'007u);
  EXPECT_EQ(h.longest_ns(), 5'000'000'000u);
}

TEST(Arena, RecordsStartFree) {
  const auto arena = make({2, 2, 2, 2, 2});
  ASSERT_TRUE(arena);
  for (const Session& s : arena->sessions()) {
    EXPECT_EQ(s.state.load(), uint32_t(SessionState::kFree));
    EXPECT_EQ(s.agent, kNone);
  }
  for (const Agent& a : arena->agents()) {
    EXPECT_EQ(a.state.load(), uint32_t(AgentState::kFree));
    EXPECT_EQ(a.session.load(), kNone);
  }
  for (const Edge& e : arena->edges()) {
    EXPECT_EQ(e.state(), EdgeState::kFree);
    EXPECT_EQ(e.source(), kNone);
    EXPECT_EQ(e.window_until.load(), ~uint64_t{0});
  }
  EXPECT_EQ(arena->window(1, 1).next(), 0u);
  EXPECT_EQ(arena->lane_counter(1, 1), 0u);
  EXPECT_EQ(arena->counters(1).rx_packets.get(), 0u);
}

TEST(Arena, StaysOutOfCoreDumps) {
  const auto arena = make({10, 10, 10, 1, 1});
  ASSERT_TRUE(arena);
  std::string flags;
  for (const auto& line : mapping(base(*arena))) {
    if (line.starts_with("VmFlags:")) flags = line + " ";
  }
  ASSERT_FALSE(flags.empty());
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
}

// What was under the sessions' keys is read through a second mapping of the same memory.
TEST(Arena, WipesTheSessionsKeysWhenItEnds) {
  auto arena = make({1, 1, 3, 1, 1});
  ASSERT_TRUE(arena);
  const ArenaHeader h = arena->header();
  void* other = mmap(nullptr, h.total, PROT_READ, MAP_SHARED, arena->fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  const auto* seen = static_cast<const uint8_t*>(other);
  for (Session& s : arena->sessions()) {
    std::memset(s.key_in.opaque, 0xa5, sizeof s.key_in.opaque);
    std::memset(s.key_out.opaque, 0xa5, sizeof s.key_out.opaque);
  }
  EXPECT_EQ(seen[h.sessions_at + offsetof(Session, key_in)], 0xa5);
  arena.reset();
  EXPECT_TRUE(all_zero({seen + h.sessions_at, 3 * sizeof(Session)}));
  munmap(other, h.total);
}

TEST(Arena, WipesTheRelaysSecretsWhenItEnds) {
  auto arena = make({1, 1, 1, 1, 1});
  ASSERT_TRUE(arena);
  const ArenaHeader h = arena->header();
  void* other = mmap(nullptr, h.total, PROT_READ, MAP_SHARED, arena->fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  const auto* seen = static_cast<const uint8_t*>(other);
  std::memset(arena->relay().challenge_key, 0xa5, sizeof arena->relay().challenge_key);
  arena.reset();
  EXPECT_TRUE(all_zero({seen + h.relay_at + offsetof(RelayRecord, challenge_key), 16}))
      << "the key that makes roaming challenges";
  munmap(other, h.total);
}

static_assert(!std::is_copy_constructible_v<Arena> && !std::is_move_constructible_v<Arena>);

}  // namespace
}  // namespace sluice::fabric
