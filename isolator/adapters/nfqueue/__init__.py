"""The gate's queues on NetfilterQueue."""

from isolator.adapters.nfqueue.datagrams import NfqueueQueue as NfqueueQueue
from isolator.adapters.nfqueue.flows import FlowNfqueue as FlowNfqueue
