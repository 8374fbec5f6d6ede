"""Every message of the engine, and the one place that says how they travel.

A message is a frozen struct. Cores take them in and give them out by value; the shells encode those that
leave the process (``encode``/``decode``: msgpack, a tagged array). Nothing here is unpickled: payloads are
opaque bytes that only the process which asked for them, or the worker that runs them, ever loads.

    base        what a message is; a core and its own shell
    leasing     owner and agent, agent and worker: who gets which workers, and how those begin and end
    running     owner and worker: a task's way there and back
    cluster     agents, their head, and whoever asks them something
    jobs        programs that the cluster runs for somebody who may leave
    surveys     one who asks, and everybody who may answer
    insights    what such answers are made of; they are opaque to all others
    placing     where leases may be; placement groups
    scaling     nodes by demand: what is wanted; a head and its provider of nodes
    moving      objects that lie on another node
    local       a program and the owner core in its process; never encoded

Addresses are plain strings, and every effect is a message to one of them::

    "links"             the shell's sockets: Dial, HangUp
    "app"               the program in an owner's process: finished tasks, pools that came up or broke
    "timer"             the loop's clock: WakeAt in, Tick out
    "agent:NODE"        a node's agent
    "worker:LEASE"      the data link of a leased worker
    "control:LEASE"     its control link, served by a second thread while a task runs
    "owner:OWNER"       a driver, or a worker that submits tasks itself
    "peer:OWNER"        another owner, to an owner
    "process:WORKER"    an agent's link to one of its own workers, leased or not
    "asker:NAME"        a command that only asks, and is no owner
    "jobs"              an agent's shell, which has the processes of jobs
    "nursery"           the forking parent: Fork and Signal in; Forked and Exited out
    "head"              the cluster's head
    "journal"           where that head keeps what must survive it: Record
    "provider"          who starts and stops nodes for it

Who says what to whom::

    app     -> owner    OpenPool Submit CancelTasks ClosePool TerminatePool ResizePool KillActor Leaving
    owner   -> app      Done Failed PoolReady PoolBroken PoolGone WorkerUp WorkerGone ActorUp ActorRestarts
    owner   -> agent    OwnerHello WantLeases ReturnLease KillWorker LookAt DropPool Blocked Lingers Preload OwnerBye
                        NodeDrains
    agent   -> owner    AgentWelcome LeaseElsewhere LeaseRefused WorkerDied Seen PoolDropped Pressed Reclaim NodeLost
                        Beat NodeDrains
    worker  -> owner    LeaseHello ControlHello SetupDone Results Recalled WornOut ActorExit Remarks
    owner   -> worker   Setup LogLevels Execute Serve Retire   (data)      Recall Interrupt RemarksSeen   (control)
    owner  <-> owner    WantActor EndActor / ActorDown
                        Subscribe Recover CancelMade Adopt Named / Subscribed Value Adopted
    worker  -> agent    WorkerHello
    agent   -> worker   LogGrows
    agent  <-> nursery  Fork (with its Attach) Signal Preload / Forked Exited
    agent  <-> head     NodeHello NodeReport NodeBye OwnerGone Asked / NodeWelcome View Answered
    agent   -> agent    HeadUp HeadEnds   (of the head's node, to the others)
    head   <-> provider StartNode StopNode ListNodes ProviderHangs
                        / NodeStarted NodeStopped NodeRefused NodesListed ProviderUp ProviderDown
    head    -> agent    LeaveIfIdle
    head   <-> agent    Reserve Release GroupNews / Reserved WatchGroup
    owner  <-> head     FactsQuery KeyPut KeyGet KeyDelete KeySwap KeyList / FactsReport KeyAnswer KeysReport
                        MakeGroup RemoveGroup GroupQuery Survey RequestResources / GroupsReport Surveyed
                        ResourcesNoted
                        (by way of its agent, in Asked and Answered)
    asker  <-> head     FactsQuery GroupQuery Survey SubmitJob StopJob JobQuery / JobsReport, the same way
    asker   -> agent    Upload / Uploaded
    head   <-> agent    RunJob EndJob JobNoted / JobSays   (and RunJob EndJob / JobSays with its shell)
    head    -> agent    Inquire, and from there to owners and workers / Inquired, NodeAnswers
    anybody -> agent    StoreQuery / StoreReport;  by its port: Knock / Admission
    process -> agent    FarHold FarDrop FarClaim FarHand FarForget FarForgetHanded Fetch FarLook / Fetched FarLooked
    agent  <-> agent    SourceKeep SourceTake SourceRelease SourceForget Pull PullOn PullStop
                        / SourceTaken SourceUnknown SourceGone PullElsewhere Coming Chunk
"""

from __future__ import annotations

from typing import Union

import msgspec

from distpool.scheduler.messages.base import *  # noqa: F403
from distpool.scheduler.messages.base import Message
from distpool.scheduler.messages.cluster import *  # noqa: F403
from distpool.scheduler.messages.jobs import *  # noqa: F403
from distpool.scheduler.messages.leasing import *  # noqa: F403
from distpool.scheduler.messages.local import *  # noqa: F403
from distpool.scheduler.messages.moving import *  # noqa: F403
from distpool.scheduler.messages.peers import *  # noqa: F403
from distpool.scheduler.messages.placing import *  # noqa: F403
from distpool.scheduler.messages.running import *  # noqa: F403
from distpool.scheduler.messages.scaling import *  # noqa: F403
from distpool.scheduler.messages.surveys import *  # noqa: F403

#: All that may come over a link. (A struct is only here if its module is imported above.)
WIRE = tuple(Message.__subclasses__())

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Union[WIRE])  # noqa: UP007

encode = _encoder.encode
decode = _decoder.decode
