#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two hosts and a reflector: what one announces, the other learns. Run it: PYTHONPATH=build/bindings/python examples/routing.py"""
import os
import tempfile

import ironcore

VNI = 100

with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "reflector")
    with ironcore.Reflector("r1", path, deferral=0.0) as reflector, \
            ironcore.Speaker("host-1", [reflector.endpoint]) as one, \
            ironcore.Speaker("host-2", [reflector.endpoint]) as two:
        two.subscribe(VNI)
        assert two.wait_complete(VNI)

        one.announce(["100#10.0.0.1/32#fd00::1", "100#192.0.2.1/32#fd00::1#nat#1024#2047"])
        seen = 0
        while len(two.routes(VNI)) < 2:
            seen = two.wait_changed(VNI, seen)
        for route, _ in sorted(two.routes(VNI)):
            print("host-2 learned", route)

        # The machine with this address moves to host-2, which does not wait for host-1 to let go.
        two.take_over("100#10.0.0.1/32#fd00::2")
        one.withdraw(["100#10.0.0.1/32#fd00::1"])
        while len(two.routes(VNI)) > 1:
            seen = two.wait_changed(VNI, seen)
        print("host-2 announces", *two.announced)

        try:
            one.announce(["100#10.0.0.1/8#fd00::1"])
        except ironcore.Error as error:
            print("refused:", error)
