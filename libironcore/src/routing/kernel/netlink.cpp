// SPDX-License-Identifier: Apache-2.0
// The socket, and the bytes that go over it.
#include "netlink.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace ironcore::routing::kernel {

namespace {

constexpr std::size_t aligned(std::size_t size) {
  return (size + NLMSG_ALIGNTO - 1) & ~static_cast<std::size_t>(NLMSG_ALIGNTO - 1);
}
constexpr int receive_buffer = 1 << 20;
constexpr std::uint16_t type_mask = 0x3fff;  // NLA_TYPE_MASK

std::string words(int number) {
  return std::system_category().message(number);
}

/// Calls `f(header, body)` for each message that is whole; false if `f` wants no more.
template <class F>
bool for_each_message(Bytes bytes, F f) {
  while (const auto header = read_as<nlmsghdr>(bytes)) {
    if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > bytes.size()) break;
    if (!f(*header, bytes.subspan(sizeof(nlmsghdr), header->nlmsg_len - sizeof(nlmsghdr)))) return false;
    bytes = bytes.subspan(std::min(bytes.size(), aligned(header->nlmsg_len)));
  }
  return true;
}

Answer answer_of(const nlmsghdr& header, Bytes body) {
  Answer answer;
  const auto error = read_as<nlmsgerr>(body);
  if (!error) return {EPROTO, {}};
  answer.error = -error->error;
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return answer;
  auto rest = body.subspan(sizeof(nlmsgerr));
  if ((header.nlmsg_flags & NLM_F_CAPPED) == 0 && error->msg.nlmsg_len > sizeof(nlmsghdr))
    rest = rest.subspan(std::min(rest.size(), aligned(error->msg.nlmsg_len) - sizeof(nlmsghdr)));
  for_each_attribute(rest, [&](std::uint16_t type, Bytes payload) {
    if (type != NLMSGERR_ATTR_MSG) return;
    answer.message.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
    answer.message.resize(std::min(answer.message.size(), answer.message.find('\0')));
  });
  return answer;
}

}  // namespace

void for_each_attribute(Bytes bytes, const std::function<void(std::uint16_t type, Bytes payload)>& f) {
  while (const auto header = read_as<nlattr>(bytes)) {
    if (header->nla_len < sizeof(nlattr) || header->nla_len > bytes.size()) return;
    f(header->nla_type & type_mask, bytes.subspan(sizeof(nlattr), header->nla_len - sizeof(nlattr)));
    bytes = bytes.subspan(std::min(bytes.size(), aligned(header->nla_len)));
  }
}

void MessageWriter::append(Bytes bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(aligned(bytes_.size()));
}

void MessageWriter::start(std::uint16_t type, std::uint16_t flags, Bytes body) {
  begin_ = bytes_.size();
  const nlmsghdr header{.nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = 0, .nlmsg_pid = 0};
  append(std::as_bytes(std::span(&header, 1)));
  append(body);
}

void MessageWriter::attribute(std::uint16_t type, Bytes payload) {
  const nlattr header{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + payload.size()), .nla_type = type};
  append(std::as_bytes(std::span(&header, 1)));
  append(payload);
}

std::size_t MessageWriter::open(std::uint16_t type) {
  return open_structure(nlattr{.nla_len = 0, .nla_type = type});
}

void MessageWriter::close(std::size_t opened) {
  const auto length = static_cast<std::uint16_t>(bytes_.size() - opened);
  std::memcpy(bytes_.data() + opened, &length, sizeof length);
}

void MessageWriter::end() {
  const auto length = static_cast<std::uint32_t>(bytes_.size() - begin_);
  std::memcpy(bytes_.data() + begin_, &length, sizeof length);
  ++messages_;
}

void MessageWriter::clear() noexcept {
  bytes_.clear();
  messages_ = 0;
}

Result<NetlinkSocket> NetlinkSocket::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return Error(ErrorCode::unavailable, "open a netlink socket: " + words(errno));
  const int on = 1;
  const auto set = [&](int level, int option, const int& value) {
    return ::setsockopt(fd.get(), level, option, &value, sizeof value) == 0;
  };
  // Room for the answers to a batch; without the privilege the default is enough for one.
  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)) set(SOL_SOCKET, SO_RCVBUF, receive_buffer);
  if (!set(SOL_NETLINK, NETLINK_EXT_ACK, on) || !set(SOL_NETLINK, NETLINK_CAP_ACK, on) ||
      !set(SOL_NETLINK, NETLINK_GET_STRICT_CHK, on))
    return Error(ErrorCode::unsupported, "netlink: " + words(errno) + ": Linux 5.2 or newer is needed");
  const sockaddr_nl address{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error(ErrorCode::unavailable, "bind a netlink socket: " + words(errno));
  NetlinkSocket made(std::move(fd));
  // The kernel makes the parts of a list as large as what it has seen somebody read with, and leaves out, without a word, routes of IPv4
  // that do not fit. The answer to nothing shows it our buffer.
  MessageWriter nothing;
  nothing.begin(NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, std::uint32_t{0});
  nothing.end();
  IRONCORE_CHECK(made.transact(nothing));
  return made;
}

Result<void> NetlinkSocket::send(MessageWriter& messages) {
  auto bytes = messages.bytes();
  for (std::size_t at = 0; at < bytes.size();) {
    const auto header = *read_as<nlmsghdr>(bytes.subspan(at));
    std::memcpy(bytes.data() + at + offsetof(nlmsghdr, nlmsg_seq), &next_sequence_, sizeof next_sequence_);
    ++next_sequence_;
    at += aligned(header.nlmsg_len);
  }
  while (true) {
    if (::send(fd_.get(), bytes.data(), bytes.size(), 0) >= 0) return {};
    if (errno != EINTR) return Error(ErrorCode::unavailable, "send to the kernel's routing: " + words(errno));
  }
}

Result<Bytes> NetlinkSocket::receive(int flags) {
  while (true) {
    sockaddr_nl from{};
    iovec part{.iov_base = buffer_.data(), .iov_len = buffer_.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const auto size = ::recvmsg(fd_.get(), &message, flags);
    if (size < 0) {
      // Some answers were lost: what is still there is read, the rest is missed.
      if (errno == EINTR || errno == ENOBUFS) continue;
      if (errno == EAGAIN) return Bytes();
      return Error(ErrorCode::unavailable, "read from the kernel's routing: " + words(errno));
    }
    if (from.nl_pid != 0) continue;  // not the kernel
    if ((message.msg_flags & MSG_TRUNC) != 0)
      return Error(ErrorCode::internal, "a netlink message of more than " + std::to_string(buffer_.size()) + " bytes");
    return Bytes(buffer_.data(), static_cast<std::size_t>(size));
  }
}

Result<std::vector<std::optional<Answer>>> NetlinkSocket::transact(MessageWriter& messages) {
  const auto first = next_sequence_;
  IRONCORE_CHECK(send(messages));
  std::vector<std::optional<Answer>> answers(messages.messages());
  std::size_t missing = answers.size();
  // The kernel has answered everything before `send` returns: what does not lie here now will never come.
  while (missing > 0) {
    IRONCORE_TRY(const auto bytes, receive(MSG_DONTWAIT));
    if (bytes.empty()) break;
    for_each_message(bytes, [&](const nlmsghdr& header, Bytes body) {
      const std::uint32_t index = header.nlmsg_seq - first;
      if (header.nlmsg_type != NLMSG_ERROR || index >= answers.size() || answers[index]) return true;
      answers[index] = answer_of(header, body);
      --missing;
      return true;
    });
  }
  return answers;
}

Result<void> NetlinkSocket::dump(MessageWriter& message, const std::function<void(std::uint16_t type, Bytes body)>& f) {
  const auto sequence = next_sequence_;
  IRONCORE_CHECK(send(message));
  bool is_interrupted = false;
  std::optional<Answer> end;
  while (!end) {
    IRONCORE_TRY(const auto bytes, receive(MSG_DONTWAIT));
    if (bytes.empty()) return Error(ErrorCode::unavailable, "a part of the kernel's answer was lost");
    for_each_message(bytes, [&](const nlmsghdr& header, Bytes body) {
      if (header.nlmsg_seq != sequence) return true;
      if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) is_interrupted = true;
      if (header.nlmsg_type == NLMSG_ERROR) {
        end = answer_of(header, body);
      } else if (header.nlmsg_type == NLMSG_DONE) {
        end = Answer{-read_as<int>(body).value_or(0), {}};
      } else {
        f(header.nlmsg_type, body);
      }
      return !end.has_value();
    });
  }
  if (end->error != 0) return to_error(*end);
  if (is_interrupted) return Error(ErrorCode::unavailable, "routes changed while they were listed");
  return {};
}

Result<void> NetlinkSocket::get(MessageWriter& message, const std::function<void(std::uint16_t type, Bytes body)>& f) {
  const auto sequence = next_sequence_;
  IRONCORE_CHECK(send(message));
  std::optional<Answer> end;
  while (!end) {
    IRONCORE_TRY(const auto bytes, receive(MSG_DONTWAIT));
    if (bytes.empty()) return Error(ErrorCode::unavailable, "the kernel's answer was lost");
    for_each_message(bytes, [&](const nlmsghdr& header, Bytes body) {
      if (header.nlmsg_seq != sequence) return true;
      end = header.nlmsg_type == NLMSG_ERROR ? answer_of(header, body) : Answer{};
      if (header.nlmsg_type != NLMSG_ERROR) f(header.nlmsg_type, body);
      return false;
    });
  }
  if (end->error != 0) return to_error(*end);
  return {};
}

Error to_error(const Answer& answer) {
  const auto text = answer.message.empty() ? words(answer.error) : answer.message + " (" + words(answer.error) + ")";
  switch (answer.error) {
    case ENODEV:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
      return {ErrorCode::wrong_state, text + ": give the host a way to the next hop"};
    case EEXIST:
      return {ErrorCode::conflict, text};
    case EPERM:
    case EACCES:
      return {ErrorCode::forbidden, text + ": the process needs CAP_NET_ADMIN"};
    case EINVAL:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
      return {ErrorCode::unsupported, text};
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:
    case EBUSY:
    case EINTR:
      return {ErrorCode::unavailable, text};
    default:
      return {ErrorCode::internal, text};
  }
}

}  // namespace ironcore::routing::kernel
