// SPDX-License-Identifier: Apache-2.0
// Claims are RADOS locks on objects of their own.
#include "claim.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include "encoding.hpp"
#include "errors.hpp"
#include "ironcore/base/random.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr const char* kLock = "claim";
constexpr const char* kBegun = "begun";
constexpr std::string_view kYes = "1";

std::string object_of(const std::string& name) {
  return "claim." + name;
}

/// Ceph's encoding of what a method of cls_lock is given: versions, the length of the rest, the rest.
std::string versioned(const std::string& body) {
  std::string out = "\x01\x01";
  append(out, static_cast<std::uint32_t>(body.size()));
  return out + body;
}

/// What `unlock` is given: name and cookie.
std::string unlock_input(const std::string& cookie) {
  std::string body;
  append(body, std::string_view(kLock));
  append(body, cookie);
  return versioned(body);
}

/// What `lock` is given: name, type, cookie, tag, description, span in seconds and nanoseconds, flags.
std::string lock_input(const std::string& cookie, std::chrono::seconds span) {
  constexpr std::uint8_t exclusive = 1;
  std::string body;
  append(body, std::string_view(kLock));
  append(body, exclusive);
  append(body, cookie);
  append(body, std::string_view());
  append(body, std::string_view());
  append(body, static_cast<std::uint32_t>(span.count()));
  append(body, std::uint32_t{0});
  append(body, std::uint8_t{0});
  return versioned(body);
}

Result<bool> has_word(const IoContext& io, const std::string& object) {
  char word = 0;
  const int code = rados_getxattr(io.get(), object.c_str(), kBegun, &word, 1);
  if (code == -ENOENT || code == -ENODATA) return false;
  if (code < 0) return ceph_error(code, "look whether " + object + " was begun");
  return true;
}

}  // namespace

Claim::Claim(const IoContext& io, std::string object, std::string cookie, std::chrono::seconds span)
    : io_(&io), object_(std::move(object)), cookie_(std::move(cookie)), span_(span) {}

Claim::Claim(Claim&& other) noexcept
    : io_(std::exchange(other.io_, nullptr)),
      object_(std::move(other.object_)),
      cookie_(std::move(other.cookie_)),
      span_(other.span_),
      was_begun_(other.was_begun_),
      is_begun_(other.is_begun_),
      is_settled_(other.is_settled_) {}

int Claim::lock(std::uint8_t flags) const {
  timeval span{.tv_sec = span_.count(), .tv_usec = 0};
  return rados_lock_exclusive(io_->get(), object_.c_str(), kLock, cookie_.c_str(), "", &span, flags);
}

Result<Claim> Claim::take(const IoContext& io, const std::string& name, std::chrono::seconds span) {
  Claim claim(io, object_of(name), random_suffix(12), span);
  const int code = claim.lock(0);
  if (code >= 0) return claim;
  claim.io_ = nullptr;
  if (code == -EBUSY) return Error(ErrorCode::conflict, "another call is at work on it: repeat it later");
  return ceph_error(code, "claim " + name);
}

// Most often nobody was there before: then one step does all, and says so by itself.
Result<Claim> Claim::take_to_make(const IoContext& io, const std::string& name, std::chrono::seconds span) {
  Claim claim(io, object_of(name), random_suffix(12), span);
  const std::string input = lock_input(claim.cookie_, span);
  const rados_write_op_t operation = rados_create_write_op();
  rados_write_op_create(operation, LIBRADOS_CREATE_EXCLUSIVE, nullptr);
  rados_write_op_exec(operation, "lock", "lock", input.data(), input.size(), nullptr);
  rados_write_op_setxattr(operation, kBegun, kYes.data(), kYes.size());
  const int code = rados_write_op_operate(operation, io.get(), claim.object_.c_str(), nullptr, 0);
  rados_release_write_op(operation);
  if (code >= 0) {
    claim.is_begun_ = true;
    return claim;
  }
  claim.io_ = nullptr;
  if (code != -EEXIST) return ceph_error(code, "claim " + name);
  IRONCORE_TRY(Claim again, take(io, name, span));
  IRONCORE_TRY(again.was_begun_, has_word(io, again.object_));
  again.is_begun_ = again.was_begun_;
  return again;
}

Result<bool> Claim::is_begun(const IoContext& io, const std::string& name) {
  return has_word(io, object_of(name));
}

Result<void> Claim::begin() {
  if (is_begun_) return {};
  is_begun_ = true;
  is_settled_ = false;
  const int code = rados_setxattr(io_->get(), object_.c_str(), kBegun, kYes.data(), kYes.size());
  return checked(code, "say that " + object_ + " is begun");
}

Result<bool> Claim::is_taken(const IoContext& io, const std::string& name) {
  std::array<char, 512> tag{}, clients{}, cookies{}, addresses{};
  std::size_t tag_size = tag.size(), clients_size = clients.size(), cookies_size = cookies.size(),
              addresses_size = addresses.size();
  int is_exclusive = 0;
  const ssize_t count =
      rados_list_lockers(io.get(), object_of(name).c_str(), kLock, &is_exclusive, tag.data(), &tag_size, clients.data(),
                         &clients_size, cookies.data(), &cookies_size, addresses.data(), &addresses_size);
  if (count == -ENOENT) return false;
  if (count < 0) return ceph_error(static_cast<int>(count), "ask who has claimed " + name);
  return count > 0;
}

Result<void> Claim::renew() const {
  const int code = lock(LIBRADOS_LOCK_FLAG_MUST_RENEW);
  if (code == -ENOENT || code == -EBUSY) {
    return Error(ErrorCode::conflict, "this call took too long and another one took over: repeat it");
  }
  return checked(code, "renew a claim");
}

Claim::~Claim() {
  if (io_ == nullptr) return;
  // Neither when somebody else has the lock by now. If it fails, the lock ends with its span.
  if (is_begun_) {
    unlock(After::keep);
  } else if (is_settled_) {
    unlock(After::remove);
  } else if (unlock(After::remove_unless_begun) == -ECANCELED) {
    unlock(After::keep);
  }
}

int Claim::unlock(After after) const {
  const std::string input = unlock_input(cookie_);
  const rados_write_op_t operation = rados_create_write_op();
  // What is not there compares as if it were empty.
  if (after == After::remove_unless_begun) rados_write_op_cmpxattr(operation, kBegun, LIBRADOS_CMPXATTR_OP_EQ, "", 0);
  rados_write_op_exec(operation, "lock", "unlock", input.data(), input.size(), nullptr);
  if (after != After::keep) rados_write_op_remove(operation);
  const int code = rados_write_op_operate(operation, io_->get(), object_.c_str(), nullptr, 0);
  rados_release_write_op(operation);
  return code;
}

}  // namespace ironcore::storage::ceph
