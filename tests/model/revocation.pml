/* Revocation against workers that share nothing (docs/architecture.md, Revocation): one edge, whose
 * packets may come in on any worker, wait in the ring to their owner, wait for a signature, or wait
 * behind one, while the agent may move from worker to worker. Control closes the edge, takes a grace
 * token, and answers when every worker has reported a quiescent point with it.
 *
 * What must hold: no packet is handed to a NIC after the answer.
 *
 * Each of these takes something away, and must make the model fail:
 *   NO_SECOND_RING      what comes out of a handover ring is not authorised again
 *   NO_SECOND_VERDICT   nor what a verifier has found good, nor what waited behind it
 *   NO_GRACE            control answers without waiting for the workers
 *   EARLY_REPORT        a worker reports before it has handed over what it authorised
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#define BURST 1          /* what a pass authorises before the next one hands it over */

/* Steps stand together (atomic) where another order of them is one of those that remain: what lies in
 * a ring may be as old as it likes, and a report that comes late is like one of an older token. */

bool edge = true;        /* the gate: one store closes it */
byte token = 0;          /* the latest grace token */
byte reported[WORKERS];
bool answered = false;
byte owner = 0;          /* of the agent; stored by the old owner alone */
byte wanted = 0;         /* where control wants the agent to be */

/* One handover ring for each worker; what is in it says what its sender thought of the edge. */
chan ring[WORKERS] = [1] of { bool };
/* Envelopes of worker 0 to the verifier, and its verdicts back. */
chan envelopes = [1] of { bool };
chan verdicts = [1] of { bool };
bool asked;              /* a call waits for its signature, */
bool waits;              /* and data waits for the call */

inline hand_to_nic() {
  assert(!answered);
}

inline report() {
  atomic { reported[me] = token }
}

proctype Worker(byte me) {
  bool granted[BURST];
  bool before, now_open;
  byte i, to;

  do
  :: /* Between two bursts the old owner gives the agent away. */
     if
     :: owner == me && wanted != me -> owner = wanted
     :: else
     fi;

     /* A burst: all of it is authorised in one pass and handed over in a later one. */
     i = 0;
     do
     :: i < BURST ->
        granted[i] = false;
        if
        :: true -> skip                                        /* nothing came */
        :: true ->
           to = owner;
           if
           :: to == me -> granted[i] = edge
           :: to != me ->                                      /* to its owner, or it dies */
              atomic {
                before = edge;
                if
                :: nfull(ring[to]) -> ring[to]!before
                :: full(ring[to])
                fi
              }
           fi
        :: me == 0 && !asked ->                                /* a call is opened */
           atomic {
             before = edge;
             asked = true;
             envelopes!before
           }
        :: me == 0 && asked && !waits -> waits = true          /* its data waits */
        fi;
        i++
     :: else -> break
     od;
#ifdef EARLY_REPORT
     report();
#endif
     i = 0;
     do
     :: i < BURST ->
        if
        :: granted[i] -> hand_to_nic()
        :: else
        fi;
        i++
     :: else -> break
     od;

     /* What others handed over. */
     if
     :: nempty(ring[me]) ->
        ring[me]?before;
#ifdef NO_SECOND_RING
        now_open = before;
#else
        now_open = edge;
#endif
        if
        :: now_open -> hand_to_nic()
        :: else
        fi
     :: empty(ring[me])
     fi;

     /* A verdict says only that a signature holds. */
     if
     :: me == 0 && nempty(verdicts) ->
        verdicts?before;
#ifdef NO_SECOND_VERDICT
        now_open = before;
#else
        now_open = edge;
#endif
        if
        :: now_open ->
           hand_to_nic();                                      /* the call */
           if
           :: waits -> hand_to_nic()                       /* and what waited for it */
           :: else
           fi
        :: else
        fi;
        waits = false;
        asked = false
     :: me == 0 && empty(verdicts)
     :: me != 0
     fi;
#ifndef EARLY_REPORT
     report();
#endif
     if
     :: answered && token == reported[me] -> break             /* enough is seen */
     :: true
     fi
  od
}

proctype Verifier() {
  bool before;
end:
  do
  :: envelopes?before -> verdicts!before
  od
}

proctype Control() {
  byte w;
  if
  :: wanted = 1                                                /* an ownership move under way */
  :: skip
  fi;
  edge = false;
  token++;
#ifndef NO_GRACE
  w = 0;
  do
  :: w < WORKERS -> reported[w] >= token; w++
  :: else -> break
  od;
#endif
  answered = true
}

init {
  byte w = 0;
  atomic {
    do
    :: w < WORKERS -> run Worker(w); w++
    :: else -> break
    od;
    run Verifier();
    run Control()
  }
}
