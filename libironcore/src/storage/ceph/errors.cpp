// SPDX-License-Identifier: Apache-2.0
// The one place where Ceph's error numbers are known.
#include "errors.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include "ironcore/base/file.hpp"

namespace ironcore::storage::ceph {

namespace {

struct Meaning {
  ErrorCode code;
  std::string text;
};

Meaning meaning_of(int number) {
  switch (number) {
    case ENOENT:
      return {ErrorCode::not_found, "not found"};
    case EEXIST:
      return {ErrorCode::already_exists, "already there"};
    case EBUSY:
      return {ErrorCode::wrong_state, "in use"};
    case ENOTEMPTY:
      return {ErrorCode::wrong_state, "others depend on it"};
    case EROFS:
      return {ErrorCode::wrong_state, "only to read"};
    case ENOSPC:
    case EDQUOT:
      return {ErrorCode::exhausted, "the pool is full or over its quota: add room, or remove something"};
    case EPERM:
    case EACCES:
      return {ErrorCode::forbidden, "not allowed: look at the capabilities of the user"};
    case ESHUTDOWN:
      return {ErrorCode::forbidden, "this client was fenced (it is on the blocklist): connect again"};
    case ETIMEDOUT:
    case ENOTCONN:
      return {ErrorCode::unavailable, "the cluster does not answer: look at `ceph -s`"};
    case EOPNOTSUPP:
    case ENOSYS:
      return {ErrorCode::unsupported, "this cluster cannot do it"};
    case ECANCELED:
      return {ErrorCode::conflict, "somebody else changed it first: repeat it"};
    case EINVAL:
      return {ErrorCode::invalid, "Ceph refuses the values"};
    default:
      return {errno_code(number), std::generic_category().message(number)};
  }
}

}  // namespace

Error ceph_error(int code, std::string_view doing) {
  const Meaning meaning = meaning_of(-code);
  return {meaning.code, std::string(doing) + ": " + meaning.text};
}

Result<void> checked(int code, std::string_view doing) {
  if (code < 0) return ceph_error(code, doing);
  return {};
}

}  // namespace ironcore::storage::ceph
