// SPDX-License-Identifier: Apache-2.0
// Names of buckets.
#include "ironcore/storage/bucket.hpp"

#include <doctest/doctest.h>

using namespace ironcore;
using namespace ironcore::storage;

TEST_CASE("the name of a bucket is readable, legal and its uid's") {
  const Uid uid = Uid::parse("0f3c2f9e-8c7b-4f6a-9d2e-6b1a7c5d4e3f").value();
  CHECK(bucket_name("backups", uid) == "backups-7c5d4e3f");
  CHECK(bucket_name("My Backups.2", uid) == "my-backups-2-7c5d4e3f");
  CHECK(bucket_name("--a--b--", uid) == "a-b-7c5d4e3f");
  CHECK(bucket_name("", uid) == "bucket-7c5d4e3f");
  CHECK(bucket_name("\xc3\xa4/..", uid) == "bucket-7c5d4e3f");
  CHECK(bucket_name(std::string(100, 'x'), uid) == std::string(54, 'x') + "-7c5d4e3f");
  for (const auto* name : {"backups", "Ä", "", "a", "-", "..", "x y z", "UPPER"})
    CHECK_FALSE(check_bucket_name(bucket_name(name, uid)));
}

TEST_CASE("a bucket's name is a DNS label of at least three characters") {
  CHECK_FALSE(check_bucket_name("abc"));
  CHECK_FALSE(check_bucket_name("a-1"));
  CHECK(check_bucket_name("ab"));
  CHECK(check_bucket_name("a.b"));
  CHECK(check_bucket_name("abc-"));
}
