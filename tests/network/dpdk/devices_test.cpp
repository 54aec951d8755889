// SPDX-License-Identifier: Apache-2.0
// Each kind of device with what is behind it.
#include <doctest/doctest.h>

namespace ironcore::tests {}
