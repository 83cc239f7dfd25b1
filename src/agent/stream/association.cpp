#include "agent/stream/association.h"

#include <usrsctp.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <unordered_map>
#include <utility>

namespace sluice::agent {

// The process's one stack. usrsctp knows an association by an address, which is a number here: a
// timer that outlives its owner finds nobody.
struct SctpStack {
  std::unordered_map<uint64_t, Association*> owners;
  uint64_t next_id = 1;
  uint64_t ticked_ms = 0;
  uint64_t active_ms = 0;  // something was sent or heard

  SctpStack();
  static SctpStack& get() {
    static SctpStack* stack = new SctpStack;  // timers of closed sockets may outlive statics
    return *stack;
  }
  static Association* find(uint64_t id) {
    const auto& owners = get().owners;
    const auto it = owners.find(id);
    return it == owners.end() ? nullptr : it->second;
  }
  void note_activity() { active_ms = ticked_ms; }
  static int output(void* address, void* packet, size_t size, uint8_t, uint8_t);
  static int input(struct socket*, union sctp_sockstore, void* data, size_t size,
                   struct sctp_rcvinfo info, int flags, void* owner);
};

namespace {

constexpr uint16_t kPort = 7480;
constexpr uint64_t kActiveForMs = 5'000;
constexpr uint64_t kLongestStepMs = 1'000;  // between two ticks, as timers are to see it
constexpr uint32_t kNeverGivesUp = 10'000;  // repetitions; calls have time-outs of their own
constexpr size_t kCommonHeader = 12;
constexpr size_t kChunkHeader = 4;
constexpr size_t kDataHeader = 16;
constexpr uint8_t kChunkData = 0;

sockaddr_conn address_of(uint64_t id) {
  sockaddr_conn out{};
  out.sconn_family = AF_CONN;
  out.sconn_port = __builtin_bswap16(kPort);
  out.sconn_addr = reinterpret_cast<void*>(id);  // never followed
  return out;
}

template <typename T>
void set(struct socket* s, int option, const T& value) {
  usrsctp_setsockopt(s, IPPROTO_SCTP, option, &value, sizeof value);
}

// Of the first DATA chunk (RFC 9260, 3.3.1).
std::optional<uint16_t> stream_of(Bytes packet) {
  for (size_t at = kCommonHeader; at + kChunkHeader <= packet.size();) {
    const size_t size = load_be16(&packet[at + 2]);
    if (size < kChunkHeader) break;
    if (packet[at] == kChunkData && at + kDataHeader <= packet.size()) {
      return load_be16(&packet[at + 8]);
    }
    at += (size + 3) & ~size_t{3};
  }
  return std::nullopt;
}

}  // namespace

SctpStack::SctpStack() {
  usrsctp_init_nothreads(0, &SctpStack::output, nullptr);
  usrsctp_enable_crc32c_offload();  // the seal around each packet is stronger
  usrsctp_sysctl_set_sctp_ecn_enable(0);
  usrsctp_sysctl_set_sctp_asconf_enable(0);
  usrsctp_sysctl_set_sctp_auto_asconf(0);
  usrsctp_sysctl_set_sctp_auth_enable(0);
  usrsctp_sysctl_set_sctp_pr_enable(0);
  usrsctp_sysctl_set_sctp_nrsack_enable(0);
  usrsctp_sysctl_set_sctp_pktdrop_enable(0);
  usrsctp_sysctl_set_sctp_sendspace(Association::kSendBuffer);
  usrsctp_sysctl_set_sctp_recvspace(Association::kReceiveWindow);
  usrsctp_sysctl_set_sctp_rto_initial_default(300);
  usrsctp_sysctl_set_sctp_rto_min_default(150);
  usrsctp_sysctl_set_sctp_rto_max_default(3'000);
  usrsctp_sysctl_set_sctp_init_rto_max_default(1'000);
  usrsctp_sysctl_set_sctp_init_rtx_max_default(kNeverGivesUp);
  usrsctp_sysctl_set_sctp_assoc_rtx_max_default(kNeverGivesUp);
  usrsctp_sysctl_set_sctp_path_rtx_max_default(kNeverGivesUp);
  usrsctp_sysctl_set_sctp_delayed_sack_time_default(20);
  usrsctp_sysctl_set_sctp_initial_cwnd(10);  // RFC 6928's number
  usrsctp_sysctl_set_sctp_max_burst_default(0);
  usrsctp_sysctl_set_sctp_max_chunks_on_queue(16'384);
}

int SctpStack::output(void* address, void* packet, size_t size, uint8_t, uint8_t) {
  if (Association* a = find(reinterpret_cast<uint64_t>(address))) {
    a->output({static_cast<const uint8_t*>(packet), size});
  }
  return 0;
}

int SctpStack::input(struct socket*, union sctp_sockstore, void* data, size_t size,
                     struct sctp_rcvinfo info, int flags, void* owner) {
  if (data == nullptr) return 1;
  if (Association* a = find(reinterpret_cast<uint64_t>(owner))) {
    const Bytes bytes{static_cast<const uint8_t*>(data), size};
    if ((flags & MSG_NOTIFICATION) != 0) {
      a->on_notification(bytes);
    } else if ((flags & MSG_EOR) == 0 || size > Association::kMostMessage) {
      a->failed_ = true;  // no agent sends such
    } else if (!a->failed_) {
      a->hooks_.message(info.rcv_sid, bytes);
    }
  }
  std::free(data);
  return 1;
}

Association::Association(AssociationPart part, size_t packet_size, AssociationHooks hooks)
    : part_(part), hooks_(std::move(hooks)), packet_size_(packet_size) {
  SctpStack& stack = SctpStack::get();
  id_ = stack.next_id++;
  stack.owners[id_] = this;
  stack.note_activity();
  usrsctp_register_address(reinterpret_cast<void*>(id_));
  open();
}

Association::~Association() {
  // Nothing is said to the peer: what ends it, ends at both sides.
  SctpStack::get().owners.erase(id_);
  close(socket_);
  close(listener_);
  usrsctp_deregister_address(reinterpret_cast<void*>(id_));
}

void Association::close(struct socket*& s) {
  if (s == nullptr) return;
  const struct linger at_once { 1, 0 };
  usrsctp_setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  usrsctp_close(s);
  s = nullptr;
}

void Association::open() {
  struct socket* s = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, &SctpStack::input, nullptr,
                                    0, reinterpret_cast<void*>(id_));
  if (s == nullptr) {
    failed_ = true;
    return;
  }
  configure(s, true);
  sockaddr_conn own = address_of(id_);
  auto* name = reinterpret_cast<sockaddr*>(&own);
  bool ok = usrsctp_bind(s, name, sizeof own) == 0;
  if (part_ == AssociationPart::kListens) {
    listener_ = s;
    ok = ok && usrsctp_listen(s, 1) == 0;
  } else {
    socket_ = s;
    ok = ok && (usrsctp_connect(s, name, sizeof own) == 0 || errno == EINPROGRESS);
  }
  failed_ = !ok;
}

void Association::configure(struct socket* s, bool before) {
  usrsctp_set_non_blocking(s, 1);
  for (const uint16_t type : {uint16_t{SCTP_ASSOC_CHANGE}, uint16_t{SCTP_STREAM_CHANGE_EVENT}}) {
    sctp_event event{};
    event.se_assoc_id = SCTP_ALL_ASSOC;
    event.se_type = type;
    event.se_on = 1;
    set(s, SCTP_EVENT, event);
  }
  if (before) {
    sctp_initmsg init{};
    init.sinit_num_ostreams = kFirstStreams;
    init.sinit_max_instreams = kMostStreams;
    set(s, SCTP_INITMSG, init);
  }
  set(s, SCTP_NODELAY, 1);
  sctp_assoc_value value{};
  value.assoc_id = SCTP_ALL_ASSOC;
  value.assoc_value = SCTP_ENABLE_CHANGE_ASSOC_REQ;
  set(s, SCTP_ENABLE_STREAM_RESET, value);
  value.assoc_value = SCTP_SS_ROUND_ROBIN;
  set(s, SCTP_PLUGGABLE_SS, value);
  sctp_paddrparams path{};
  path.spp_flags = SPP_HB_DISABLE | SPP_PMTUD_DISABLE;
  path.spp_pathmtu = static_cast<uint32_t>((packet_size_ - kCommonHeader) & ~size_t{3});
  path.spp_pathmaxrxt = uint16_t{kNeverGivesUp};
  set(s, SCTP_PEER_ADDR_PARAMS, path);
}

void Association::set_packet_size(size_t bytes) {
  if (bytes == packet_size_) return;
  packet_size_ = bytes;
  for (struct socket* s : {socket_, listener_}) {
    if (s != nullptr) configure(s, false);
  }
}

void Association::receive(Bytes packet) {
  if (failed_) return;
  SctpStack::get().note_activity();
  usrsctp_conninput(reinterpret_cast<void*>(id_), packet.data(), packet.size(), 0);
  if (listener_ != nullptr) adopt();
}

// Whoever has greeted last is the peer.
void Association::adopt() {
  while (struct socket* s = usrsctp_accept(listener_, nullptr, nullptr)) {
    close(socket_);
    socket_ = s;
    configure(s, false);
  }
}

void Association::output(Bytes packet) {
  SctpStack::get().note_activity();
  hooks_.send(packet, stream_of(packet));
}

void Association::on_notification(Bytes bytes) {
  if (bytes.size() < sizeof(sctp_assoc_change)) return;
  const auto* n = reinterpret_cast<const union sctp_notification*>(bytes.data());
  if (n->sn_header.sn_type == SCTP_STREAM_CHANGE_EVENT) {
    const auto& change = n->sn_strchange_event;
    asked_ = false;
    if ((change.strchange_flags & (SCTP_STREAM_CHANGE_DENIED | SCTP_STREAM_CHANGE_FAILED)) == 0 &&
        change.strchange_outstrms != 0) {
      streams_ = std::max<unsigned>(streams_, change.strchange_outstrms);
    }
    return;
  }
  if (n->sn_header.sn_type != SCTP_ASSOC_CHANGE) return;
  switch (n->sn_assoc_change.sac_state) {
    case SCTP_RESTART:
      ++restarts_;
      [[fallthrough]];
    case SCTP_COMM_UP:
      up_ = true;
      asked_ = false;
      streams_ = n->sn_assoc_change.sac_outbound_streams;
      return;
    case SCTP_COMM_LOST:
    case SCTP_SHUTDOWN_COMP:
    case SCTP_CANT_STR_ASSOC:
      up_ = false;
      failed_ = true;
      return;
    default:
      return;
  }
}

void Association::ask_for_streams() {
  if (asked_ || !up_ || socket_ == nullptr || streams_ >= kMostStreams) return;
  sctp_add_streams more{};
  more.sas_outstrms = static_cast<uint16_t>(std::min(streams_, kMostStreams - streams_));
  asked_ = usrsctp_setsockopt(socket_, IPPROTO_SCTP, SCTP_ADD_STREAMS, &more, sizeof more) == 0;
}

bool Association::send(uint16_t stream, Bytes message, bool at_once) {
  if (!up_ || failed_ || socket_ == nullptr) return false;
  sctp_sndinfo info{};
  info.snd_sid = stream;
  info.snd_flags = at_once ? SCTP_SACK_IMMEDIATELY : 0;
  SctpStack::get().note_activity();
  return usrsctp_sendv(socket_, message.data(), message.size(), nullptr, 0, &info, sizeof info,
                       SCTP_SENDV_SNDINFO, 0) == ssize_t(message.size());
}

void Association::tick(uint64_t mono_ms) {
  SctpStack& stack = SctpStack::get();
  const uint64_t before = std::exchange(stack.ticked_ms, mono_ms);
  if (before == 0 || mono_ms <= before) {
    stack.active_ms = std::min(stack.active_ms, mono_ms);
    return;
  }
  usrsctp_handle_timers(static_cast<uint32_t>(std::min(mono_ms - before, kLongestStepMs)));
}

uint64_t Association::deadline() {
  const SctpStack& stack = SctpStack::get();
  const bool active = !stack.owners.empty() && stack.ticked_ms <= stack.active_ms + kActiveForMs;
  return active ? stack.ticked_ms + kTickMs : kNever;
}

}  // namespace sluice::agent
