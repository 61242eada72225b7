# Runs daphne so that it ends as the other servers do: at SIGTERM it takes no more connections, answers what it was asked, and
# ends when the last answer is whole. By itself it cancels every answer that is still on its way.
#
# Arguments: the seconds that answers get, "close" when no connection is for more than one request (else "keep"), daphne's own.
import sys
import time

from daphne.server import Server  # before anything else of Twisted: it chooses the reactor
from daphne.cli import CommandLineInterface
from twisted.internet import defer, reactor
from twisted.web.http import HTTPChannel

LOOK_EVERY = 0.05
# A connection that was taken just before the end has its request on the way.
FIRST_REQUEST_WITHIN = 1.0
SERVICE_RESTARTS = 1012

seconds, connections = float(sys.argv[1]), sys.argv[2]
closing = connections == "close"
channels = set()

made, lost, persistent = HTTPChannel.connectionMade, HTTPChannel.connectionLost, HTTPChannel.checkPersistence


def connection_made(channel):
    channels.add(channel)
    made(channel)


def connection_lost(channel, reason):
    channels.discard(channel)
    lost(channel, reason)


def check_persistence(channel, request, version):
    keeps = persistent(channel, request, version)
    if keeps and closing:
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        keeps = False
    return keeps


HTTPChannel.connectionMade = connection_made
HTTPChannel.connectionLost = connection_lost
HTTPChannel.checkPersistence = check_persistence


class DrainingServer(Server):
    ports = ()

    def listen_success(self, port):
        self.ports += (port,)
        super().listen_success(port)

    def kill_all_applications(self):
        """Called before the reactor ends, which waits for what this returns."""
        global closing
        closing = True
        for port in self.ports:
            port.stopListening()
        # Others may still be asked something: Twisted hears nothing more on a connection that is not to be kept.
        for channel in [channel for channel in list(channels) if channel.requests]:
            channel.persistent = False
        for protocol in self.open():
            if hasattr(protocol, "sendCloseFrame"):
                protocol.sendCloseFrame(code=SERVICE_RESTARTS, isReply=False)
        drained = defer.Deferred()
        self.look(time.monotonic(), drained)
        return drained.addCallback(lambda _: Server.kill_all_applications(self))

    def open(self):
        return [protocol for protocol, details in list(self.connections.items()) if "disconnected" not in details]

    def look(self, began, drained):
        passed = time.monotonic() - began
        if passed >= FIRST_REQUEST_WITHIN:
            for channel in [channel for channel in list(channels) if not channel.requests]:
                channel.loseConnection()
        if (not channels and not self.open()) or passed >= seconds:
            # What has no application yet was never asked anything.
            self.connections = {p: d for p, d in self.connections.items() if "application_instance" in d}
            drained.callback(None)
        else:
            reactor.callLater(LOOK_EVERY, self.look, began, drained)


CommandLineInterface.server_class = DrainingServer
CommandLineInterface().run(sys.argv[3:])
