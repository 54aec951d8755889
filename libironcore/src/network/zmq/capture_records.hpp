// SPDX-License-Identifier: Apache-2.0
// Between captures and their records.
#pragma once

#include <string>
#include <vector>

#include "ironcore/network/capture.hpp"
#include "wire.hpp"

namespace ironcore::network::zmq {

/// The record's views point into this and into the spec.
struct EncodedCaptureSpec {
  explicit EncodedCaptureSpec(const CaptureSpec& spec);
  const CaptureSpec& spec;
  std::string address;
  CaptureSpecRecord record() const;
};
/// `invalid`: a word or an address is none.
Result<CaptureSpec> spec_of(const CaptureSpecRecord& record);

/// As well, and into the state.
struct EncodedCapture {
  explicit EncodedCapture(const CaptureState& state);
  const CaptureState& state;
  EncodedCaptureSpec spec;
  CaptureRecord record() const;
};
Result<CaptureState> state_of(const CaptureRecord& record);

}  // namespace ironcore::network::zmq
