// SPDX-License-Identifier: Apache-2.0
// A list and a watch on one object.
#include "ironcorectl/follow.hpp"

#include <algorithm>
#include <boost/json.hpp>

namespace ironcore::ctl {

Result<bool> follow(Session& session, const store::Key& key, Instant deadline, const Look& look) {
  IRONCORE_TRY(store::Store* const store, session.store());
  store::Query query{.kind = key.kind, .namespace_ = key.namespace_};
  IRONCORE_TRY(query.fields, store::FieldSelector::parse("metadata.name=" + key.name));
  for (;;) {
    IRONCORE_TRY(const auto page, store->list(query));
    std::optional<api::Object> now;
    if (!page.objects.empty()) now = page.objects.front();
    IRONCORE_TRY(const bool is_done, look(now ? &*now : nullptr));
    if (is_done) return true;

    auto opened = store->watch(query, page.revision);
    if (!opened && opened.error().code() == ErrorCode::gone) continue;
    IRONCORE_TRY(const auto watch, std::move(opened));
    for (;;) {
      const Instant tick = session.clock().now() + std::chrono::seconds(1);
      auto changes = watch->next(std::min(tick, deadline), session.stop());
      if (!changes && changes.error().code() == ErrorCode::gone) break;
      IRONCORE_CHECK(changes);
      for (const store::Change& change : *changes) {
        if (change.type == store::Change::Type::bookmark) continue;
        now = change.type == store::Change::Type::deleted ? std::nullopt : change.object;
        IRONCORE_TRY(const bool is_done_now, look(now ? &*now : nullptr));
        if (is_done_now) return true;
      }
      if (session.stop().stop_requested()) return Error(ErrorCode::cancelled, "interrupted");
      if (session.clock().now() >= deadline) return false;
      if (changes->empty()) {
        IRONCORE_TRY(const bool is_done_now, look(now ? &*now : nullptr));
        if (is_done_now) return true;
      }
    }
  }
}

std::string state_text(const api::Object& object) {
  std::string text = api::field_text(object, "status.state").value_or("");
  boost::system::error_code error;
  const auto tree = boost::json::parse(object.json(), error);
  if (error) return text;
  const auto* conditions = tree.as_object().if_contains("status");
  if (conditions && conditions->is_object()) conditions = conditions->as_object().if_contains("conditions");
  if (!conditions || !conditions->is_array()) return text;
  for (const auto& condition : conditions->as_array()) {
    if (!condition.is_object()) continue;
    const auto& members = condition.as_object();
    const auto* type = members.if_contains("type");
    const auto* status = members.if_contains("status");
    const auto* message = members.if_contains("message");
    if (!type || !type->is_string() || type->as_string() != "Ready" || !message || !message->is_string()) continue;
    if (status && status->is_string() && status->as_string() == "True") continue;
    if (!message->as_string().empty()) text += (text.empty() ? "" : ": ") + std::string(message->as_string());
  }
  return text;
}

}  // namespace ironcore::ctl
