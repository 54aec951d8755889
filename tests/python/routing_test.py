#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Routing as Python's users see it: errors, waits, and objects that go in any order. examples/routing.py shows the rest."""
import os
import tempfile
import unittest

import ironcore


class RoutingTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = os.path.join(self.directory.name, "r")

    def refused(self, code, call):
        with self.assertRaises(ironcore.Error) as caught:
            call()
        self.assertEqual(caught.exception.code, code)
        return caught.exception.message

    def test_wrong_values_are_refused_and_change_nothing(self):
        self.assertIn("keys", self.refused("invalid", lambda: ironcore.Speaker("a", ["tcp://127.0.0.1:1"])))
        self.assertIn("reflectors", self.refused("invalid", lambda: ironcore.Speaker("a", [])))
        self.assertIn("name", self.refused("invalid", lambda: ironcore.Reflector("", self.path)))
        self.assertIn("absolute", self.refused("invalid", lambda: ironcore.Reflector("r", "here")))
        with ironcore.Reflector("r", self.path) as reflector, ironcore.Speaker("a", [reflector.endpoint]) as speaker:
            self.refused("wrong_state", lambda: ironcore.Reflector("r", self.path))
            self.assertIn("no route", self.refused("invalid", lambda: speaker.announce(["1#10.0.0.1/32#fd00::1", "x"])))
            self.assertEqual(speaker.announced, [])
            self.refused("invalid", lambda: speaker.subscribe(1 << 24))
            self.assertIn("not subscribed", self.refused("wrong_state", lambda: speaker.take_over("1#10.0.0.1/32#fd00::1")))

    def test_waits_end_and_what_is_closed_says_so(self):
        speaker = ironcore.Speaker("a", ["ipc://" + self.path])
        speaker.subscribe(7)
        self.assertFalse(speaker.wait_complete(7, timeout=0.1))
        self.assertEqual(speaker.wait_changed(7, 0, timeout=0.1), 0)
        self.assertEqual(speaker.status["reflectors"][0]["phase"], "connecting")
        self.assertTrue(speaker.status["vnis"][7]["is_stale"])
        with speaker:
            speaker.close()
        speaker.close(leaving=True)
        self.refused("wrong_state", lambda: speaker.routes(7))

    def test_a_table_is_complete_when_a_reflector_says_so(self):
        with ironcore.Reflector("r", self.path, deferral=0.0) as reflector:
            one = ironcore.Speaker("a", [reflector.endpoint])
            two = ironcore.Speaker("b", [reflector.endpoint])
            two.subscribe(7)
            self.assertTrue(two.wait_complete(7))
            one.announce([f"7#10.0.{i // 250}.{i % 250}/32#fd00::1" for i in range(5000)])
            seen = 0
            while len(two.routes(7)) < 5000:
                seen = two.wait_changed(7, seen)
            self.assertEqual(len({origin for _, origin in two.routes(7)}), 1)
            self.assertEqual(reflector.status["routes"], 5000)
            one.close(leaving=True)
            while two.routes(7):
                seen = two.wait_changed(7, seen)
            del one
            two.close()


if __name__ == "__main__":
    unittest.main()
