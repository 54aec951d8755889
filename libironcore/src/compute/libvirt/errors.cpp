// SPDX-License-Identifier: Apache-2.0
// The one place where libvirt's error numbers are known.
#include "errors.hpp"

#include <libvirt/virterror.h>

#include <cerrno>
#include <string>

namespace ironcore::compute::libvirt {

namespace {

ErrorCode code_of(const virError& error) {
  // Whatever the RPC layer or the event loop says: the daemon cannot be talked to.
  if (error.domain == VIR_FROM_RPC) return ErrorCode::unavailable;
  switch (error.code) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_DEVICE_MISSING:
      return ErrorCode::not_found;
    case VIR_ERR_DOM_EXIST:
      return ErrorCode::already_exists;
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_RESOURCE_BUSY:
      return ErrorCode::wrong_state;
    case VIR_ERR_AGENT_UNRESPONSIVE:
    case VIR_ERR_AGENT_UNSYNCED:
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
      return ErrorCode::unavailable;
    case VIR_ERR_SYSTEM_ERROR:
      // Its number is errno's.
      return error.int1 == ENOSPC || error.int1 == EDQUOT || error.int1 == ENOMEM || error.int1 == EMFILE
                 ? ErrorCode::exhausted
                 : ErrorCode::unavailable;
    case VIR_ERR_OPERATION_TIMEOUT:
      return ErrorCode::timeout;
    case VIR_ERR_OPERATION_ABORTED:
      return ErrorCode::cancelled;
    case VIR_ERR_NO_MEMORY:
      return ErrorCode::exhausted;
    case VIR_ERR_NO_SECRET:  // that a disk needs
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
      return ErrorCode::forbidden;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
      return ErrorCode::unsupported;
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_INVALID_DOMAIN:
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_INVALID_MAC:
    case VIR_ERR_OS_TYPE:
    case VIR_ERR_CONFIG_UNSUPPORTED:
      return ErrorCode::invalid;
    default:
      return ErrorCode::internal;
  }
}

/// libvirt quotes what QEMU printed, line by line.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool is_break = c == '\n' || c == '\r' || c == '\t';
    if (!is_break) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string tidy(std::string_view text) {
  std::string out = one_line(text);
  // `2026-01-02T03:04:05.678901Z qemu-system-x86_64: what happened`
  constexpr std::string_view kMark = "Z qemu-system-";
  for (std::size_t at = out.find(kMark); at != std::string::npos; at = out.find(kMark, at)) {
    std::size_t start = at;
    while (start > 0 && std::string_view("0123456789-:.T").find(out[start - 1]) != std::string_view::npos) --start;
    const std::size_t end = out.find(": ", at);
    if (end == std::string::npos) break;
    out.erase(start, end + 2 - start);
    at = start;
  }
  // Of librbd behind QEMU: neither says which key, nor what to do.
  if (out.find("encryption load fail") != std::string::npos)
    out +=
        "; the key that the host has does not open the data of the volume, or the header of its encryption is damaged: "
        "detach the volume, then its conditions say which, and what to do (ironcorectl describe volume)";
  return out;
}

Error last_error(std::string_view doing) {
  const virErrorPtr error = virGetLastError();
  if (error == nullptr || error->code == VIR_ERR_OK) {
    return {ErrorCode::internal, std::string(doing) + ": libvirt failed without a reason"};
  }
  return {code_of(*error), std::string(doing) + ": " + tidy(error->message == nullptr ? "" : error->message)};
}

}  // namespace ironcore::compute::libvirt
