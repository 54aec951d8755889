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

std::string object_of(const std::string& name) {
  return "claim." + name;
}

/// Ceph's encoding of what cls_lock's `unlock` is given: versions, the length of the rest, then name and cookie.
std::string unlock_input(const std::string& cookie) {
  std::string body;
  append(body, std::string_view(kLock));
  append(body, cookie);
  std::string out = "\x01\x01";
  append(out, static_cast<std::uint32_t>(body.size()));
  return out + body;
}

}  // namespace

Claim::Claim(const IoContext& io, std::string object, std::string cookie, std::chrono::seconds span)
    : io_(&io), object_(std::move(object)), cookie_(std::move(cookie)), span_(span) {}

Claim::Claim(Claim&& other) noexcept
    : io_(std::exchange(other.io_, nullptr)),
      object_(std::move(other.object_)),
      cookie_(std::move(other.cookie_)),
      span_(other.span_) {}

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
  // Removes the object too, unless somebody else has the lock by now. If it fails, the lock ends with its span.
  const std::string input = unlock_input(cookie_);
  const rados_write_op_t operation = rados_create_write_op();
  rados_write_op_exec(operation, "lock", "unlock", input.data(), input.size(), nullptr);
  rados_write_op_remove(operation);
  rados_write_op_operate(operation, io_->get(), object_.c_str(), nullptr, 0);
  rados_release_write_op(operation);
}

}  // namespace ironcore::storage::ceph
