// SPDX-License-Identifier: Apache-2.0
// doctest's main, shared by all test programs.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
