/*-------------------------------------------------------------------------
 *
 * mailbox.c
 *	  The shared-memory slots between sessions and the worker, and the directory
 *	  in which a session finds its database's worker.
 *
 * The directory is in main shared memory: one entry for each database that has
 * a worker, under one lightweight lock, read when a session attaches.  Nothing
 * of it is in a table, so nothing can be edited, dumped or replicated.
 *
 * The mailbox is the worker's own dynamic shared memory segment, with one slot
 * for each process that may ever ask.  A slot is governed by one 64-bit word,
 * sequence number and state, which is changed by compare-and-exchange only:
 *
 *	FREE -> FILL (session) -> POSTED (session) -> TAKEN (worker) -> DONE (worker)
 *
 * POSTED goes back to FREE when the session withdraws.  The worker copies the
 * request first and then takes it, so a successful take proves the copy whole;
 * the session reads the answer only when DONE.  A session that stops waiting
 * for a taken request simply uses the next sequence number, and the worker's
 * answer to the old one goes nowhere.  When the worker ends, for whatever
 * reason, it marks POSTED and TAKEN slots GONE and wakes their owners; a
 * session that posts looks at "alive" afterwards, so one of the two always sees
 * the other, and nobody has to poll.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "mailbox.h"

/* More databases with a worker at once than a server is likely to have. */
#define MAX_DATABASES	64

#define MAILBOX_MAGIC	0x64676970

typedef struct Entry
{
	Oid			database;		/* InvalidOid: free */
	int			pid;			/* the worker's */
	dsm_handle	handle;
	uint64		generation;		/* of workers, never used twice */
} Entry;

/* A worker that somebody has just asked the postmaster for. */
typedef struct Launch
{
	Oid			database;
	TimestampTz at;
} Launch;

typedef struct Directory
{
	LWLock		lock;
	uint64		generation;		/* the last one given out */
	int			next_launch;	/* the oldest of launches */
	Launch		launches[8];
	Entry		entries[MAX_DATABASES];
} Directory;

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_FILL,
	SLOT_POSTED,
	SLOT_TAKEN,
	SLOT_DONE,
	SLOT_GONE_UNTAKEN,
	SLOT_GONE_TAKEN
} SlotState;

#define WORD(seq, state)	(((uint64) (seq) << 3) | (state))
#define WORD_SEQ(word)		((word) >> 3)
#define WORD_STATE(word)	((SlotState) ((word) & 7))

typedef struct Slot
{
	pg_atomic_uint64 word;
	DpAsk		ask;
	DpAnswer	answer;
} Slot;

typedef struct Mailbox
{
	uint32		magic;
	uint64		generation;
	int			worker;			/* the worker's process number */
	pg_atomic_uint32 alive;
	pg_atomic_uint32 poked;		/* somebody has committed something */
	DpStats		stats;
	int			nslots;
	int			nwords;			/* of the bitmap behind the slots */
	Slot		slots[FLEXIBLE_ARRAY_MEMBER];
} Mailbox;

static Directory *directory = NULL;
static dsm_segment *segment = NULL;
static Mailbox *mailbox = NULL;
static uint64 my_seq = 0;		/* session: of my last request */

/* ----------
 * The directory
 * ----------
 */

/* Reserve room for the directory; only of use under preload. */
void
dp_mailbox_request_shmem(void)
{
	RequestAddinShmemSpace(sizeof(Directory));
}

/* Find or make the directory.  Without preload it fits the spare room. */
static void
attach_directory(void)
{
	bool		found;

	if (directory != NULL)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	directory = ShmemInitStruct("digipay directory", sizeof(Directory), &found);
	if (!found)
	{
		memset(directory, 0, sizeof(Directory));
		LWLockInitialize(&directory->lock, LWLockNewTrancheId());
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(directory->lock.tranche, "DigipayDirectory");
}

/* The entry of this database, or a free one if free_too; NULL if none. */
static Entry *
find_entry(bool free_too)
{
	Entry	   *free_entry = NULL;

	for (int i = 0; i < MAX_DATABASES; i++)
	{
		if (directory->entries[i].database == MyDatabaseId)
			return &directory->entries[i];
		if (directory->entries[i].database == InvalidOid && free_entry == NULL)
			free_entry = &directory->entries[i];
	}
	return free_too ? free_entry : NULL;
}

/* Process id of this database's worker, 0 if it has none. */
int
dp_mailbox_worker_pid(void)
{
	Entry	   *entry;
	int			pid;

	attach_directory();
	LWLockAcquire(&directory->lock, LW_SHARED);
	entry = find_entry(false);
	pid = entry != NULL ? entry->pid : 0;
	LWLockRelease(&directory->lock);
	return pid;
}

/*
 * May a worker of this database be asked for?  Not if somebody has done so
 * within so many milliseconds: it is on its way, and there are few places for
 * background workers.  When true, we are the one who does.
 */
bool
dp_mailbox_may_launch(int within_ms)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		may = true;

	attach_directory();
	LWLockAcquire(&directory->lock, LW_EXCLUSIVE);
	for (int i = 0; i < (int) lengthof(directory->launches); i++)
	{
		if (directory->launches[i].database == MyDatabaseId &&
			!TimestampDifferenceExceeds(directory->launches[i].at, now, within_ms))
			may = false;
	}
	if (may)
	{
		Launch	   *launch = &directory->launches[directory->next_launch];

		launch->database = MyDatabaseId;
		launch->at = now;
		directory->next_launch = (directory->next_launch + 1) % lengthof(directory->launches);
	}
	LWLockRelease(&directory->lock);
	return may;
}

/* ----------
 * Sessions
 * ----------
 */

static pg_atomic_uint64 *
ready_bitmap(void)
{
	return (pg_atomic_uint64 *) &mailbox->slots[mailbox->nslots];
}

/* This backend's slot. */
static Slot *
my_slot(void)
{
	return &mailbox->slots[DP_MY_PROC_NUMBER];
}

/* Set the latch of a process, by its number. */
static void
wake(int process)
{
	SetLatch(&GetPGProcByNumber(process)->procLatch);
}

/*
 * Attach to this database's worker, if it has one that is alive.  Costs one
 * read of memory when we are attached already.
 */
bool
dp_mailbox_attach(void)
{
	Entry	   *entry;
	Entry		copy = {0};

	if (mailbox != NULL && pg_atomic_read_u32(&mailbox->alive))
		return true;
	if (segment != NULL)
	{
		dsm_detach(segment);
		segment = NULL;
		mailbox = NULL;
	}
	attach_directory();
	LWLockAcquire(&directory->lock, LW_SHARED);
	entry = find_entry(false);
	if (entry != NULL)
		copy = *entry;
	LWLockRelease(&directory->lock);
	if (entry == NULL)
		return false;

	segment = dsm_attach(copy.handle);
	if (segment == NULL)
		return false;			/* it has ended meanwhile */
	dsm_pin_mapping(segment);
	mailbox = dsm_segment_address(segment);
	if (mailbox->magic != MAILBOX_MAGIC || mailbox->generation != copy.generation ||
		!pg_atomic_read_u32(&mailbox->alive))
	{
		dsm_detach(segment);
		segment = NULL;
		mailbox = NULL;
		return false;
	}
	return true;
}

/*
 * Post a request.  False if the worker has ended meanwhile; nobody will see the
 * request then.
 */
bool
dp_mailbox_post(const DpAsk *ask)
{
	Slot	   *slot = my_slot();
	int			me = DP_MY_PROC_NUMBER;

	/* an earlier owner of the slot may have left any number there */
	my_seq = Max(my_seq, WORD_SEQ(pg_atomic_read_u64(&slot->word))) + 1;
	pg_atomic_write_u64(&slot->word, WORD(my_seq, SLOT_FILL));
	pg_memory_barrier();
	slot->ask = *ask;
	pg_memory_barrier();
	pg_atomic_write_u64(&slot->word, WORD(my_seq, SLOT_POSTED));
	pg_atomic_fetch_or_u64(&ready_bitmap()[me / 64], UINT64CONST(1) << (me % 64));
	pg_memory_barrier();
	/* its last round may have seen us all the same; then we wait for that */
	if (!pg_atomic_read_u32(&mailbox->alive) && dp_mailbox_withdraw())
		return false;
	wake(mailbox->worker);
	return true;
}

/* How does my request stand? */
DpMail
dp_mailbox_look(void)
{
	uint64		word = pg_atomic_read_u64(&my_slot()->word);

	pg_memory_barrier();
	if (WORD_SEQ(word) == my_seq)
	{
		switch (WORD_STATE(word))
		{
			case SLOT_POSTED:
				return DP_MAIL_WAITING;
			case SLOT_TAKEN:
				return DP_MAIL_TAKEN;
			case SLOT_DONE:
				return DP_MAIL_DONE;
			case SLOT_GONE_UNTAKEN:
				return DP_MAIL_GONE_UNTAKEN;
			case SLOT_GONE_TAKEN:
				return DP_MAIL_GONE_TAKEN;
			case SLOT_FREE:
			case SLOT_FILL:
				break;
		}
	}
	return DP_MAIL_WITHDRAWN;
}

/* Has the worker not even looked at my request? */
bool
dp_mailbox_unseen(void)
{
	int			me = DP_MY_PROC_NUMBER;

	return (pg_atomic_read_u64(&ready_bitmap()[me / 64]) &
			(UINT64CONST(1) << (me % 64))) != 0;
}

/*
 * Take my request back.  False if the worker has it already (or has answered);
 * when true, nothing will be sent for it.
 */
bool
dp_mailbox_withdraw(void)
{
	uint64		expected = WORD(my_seq, SLOT_POSTED);

	return pg_atomic_compare_exchange_u64(&my_slot()->word, &expected,
										  WORD(my_seq, SLOT_FREE));
}

/* The answer, when dp_mailbox_look has said DONE. */
const DpAnswer *
dp_mailbox_answer(void)
{
	return &my_slot()->answer;
}

/*
 * Wait no more for what the worker has in its hands.  It goes on; its answer
 * will find nobody.
 */
void
dp_mailbox_forget(void)
{
	uint64		expected = WORD(my_seq, SLOT_TAKEN);

	if (mailbox != NULL)
		(void) pg_atomic_compare_exchange_u64(&my_slot()->word, &expected,
											  WORD(my_seq, SLOT_FREE));
}

/*
 * Tell the worker that something in the journal has been committed, if this
 * session is attached to it.  Raises nothing: it is called when the commit is
 * over.  Where nobody is told, the worker finds out by itself, a little later.
 */
void
dp_mailbox_poke(void)
{
	if (mailbox == NULL || !pg_atomic_read_u32(&mailbox->alive))
		return;
	pg_atomic_write_u32(&mailbox->poked, 1);
	pg_memory_barrier();
	wake(mailbox->worker);
}

/* The worker's counters; NULL if there is no worker. */
DpStats *
dp_mailbox_stats(void)
{
	return dp_mailbox_attach() ? &mailbox->stats : NULL;
}

/* ----------
 * The worker
 * ----------
 */

/*
 * The worker ends: whoever waits must know.  Runs also when it ends by an
 * error, after its locks have been released.
 */
static void
on_worker_end(dsm_segment *seg, Datum arg)
{
	Entry	   *entry;

	pg_atomic_write_u32(&mailbox->alive, 0);
	pg_memory_barrier();
	for (int i = 0; i < mailbox->nslots; i++)
	{
		pg_atomic_uint64 *word = &mailbox->slots[i].word;
		uint64		seen = pg_atomic_read_u64(word);

		while (WORD_STATE(seen) == SLOT_POSTED || WORD_STATE(seen) == SLOT_TAKEN)
		{
			SlotState	gone = WORD_STATE(seen) == SLOT_POSTED ?
				SLOT_GONE_UNTAKEN : SLOT_GONE_TAKEN;

			if (pg_atomic_compare_exchange_u64(word, &seen, WORD(WORD_SEQ(seen), gone)))
			{
				wake(i);
				break;
			}
		}
	}
	LWLockAcquire(&directory->lock, LW_EXCLUSIVE);
	entry = find_entry(false);
	if (entry != NULL && entry->pid == MyProcPid)
		entry->database = InvalidOid;
	LWLockRelease(&directory->lock);
}

/* All counters at zero. */
static void
init_stats(DpStats *stats)
{
	stats->started_at = GetCurrentTimestamp();
	pg_atomic_init_u64(&stats->sent, 0);
	for (int i = 0; i <= DP_REVIEW; i++)
		pg_atomic_init_u64(&stats->outcomes[i], 0);
	pg_atomic_init_u64(&stats->questions, 0);
	pg_atomic_init_u64(&stats->retries, 0);
	pg_atomic_init_u64(&stats->bytes_sent, 0);
	pg_atomic_init_u64(&stats->bytes_received, 0);
	pg_atomic_init_u64(&stats->replies, 0);
	pg_atomic_init_u64(&stats->reply_us, 0);
	pg_atomic_init_u64(&stats->reply_us_max, 0);
	pg_atomic_init_u64(&stats->in_flight, 0);
	pg_atomic_init_u64(&stats->queue_length, 0);
	pg_atomic_init_u64(&stats->webhooks, 0);
	pg_atomic_init_u64(&stats->webhooks_refused, 0);
}

/*
 * Make the mailbox.  It is not pinned: it lives as long as the worker or a
 * session that is attached to it.
 */
void
dp_mailbox_create(void)
{
	int			nslots = MaxBackends;
	int			nwords = (nslots + 63) / 64;

	attach_directory();
	segment = dsm_create(offsetof(Mailbox, slots) + nslots * sizeof(Slot) +
						 nwords * sizeof(pg_atomic_uint64), 0);
	dsm_pin_mapping(segment);
	mailbox = dsm_segment_address(segment);
	memset(mailbox, 0, offsetof(Mailbox, slots));
	mailbox->magic = MAILBOX_MAGIC;
	mailbox->worker = DP_MY_PROC_NUMBER;
	mailbox->nslots = nslots;
	mailbox->nwords = nwords;
	pg_atomic_init_u32(&mailbox->alive, 1);
	pg_atomic_init_u32(&mailbox->poked, 1);
	init_stats(&mailbox->stats);
	for (int i = 0; i < nslots; i++)
		pg_atomic_init_u64(&mailbox->slots[i].word, WORD(0, SLOT_FREE));
	for (int i = 0; i < nwords; i++)
		pg_atomic_init_u64(&ready_bitmap()[i], 0);
	on_dsm_detach(segment, on_worker_end, (Datum) 0);
}

/* Let sessions find the mailbox.  False when the directory is full. */
bool
dp_mailbox_publish(void)
{
	Entry	   *entry;

	LWLockAcquire(&directory->lock, LW_EXCLUSIVE);
	entry = find_entry(true);
	if (entry != NULL)
	{
		mailbox->generation = ++directory->generation;
		entry->database = MyDatabaseId;
		entry->pid = MyProcPid;
		entry->handle = dsm_segment_handle(segment);
		entry->generation = mailbox->generation;
	}
	/* it is not on its way any more; should it end, another may be asked for */
	for (int i = 0; i < (int) lengthof(directory->launches); i++)
	{
		if (directory->launches[i].database == MyDatabaseId)
			directory->launches[i].at = 0;
	}
	LWLockRelease(&directory->lock);
	return entry != NULL;
}

/* Take no new requests: sessions start another worker for them. */
void
dp_mailbox_close(void)
{
	pg_atomic_write_u32(&mailbox->alive, 0);
	pg_memory_barrier();
}

/*
 * The next slot that somebody has posted to since we looked last, -1 if there
 * is none.
 */
int
dp_mailbox_next_ready(void)
{
	static int	word_no = 0;
	static uint64 bits = 0;

	while (bits == 0)
	{
		if (word_no == mailbox->nwords)
		{
			word_no = 0;
			return -1;
		}
		if (pg_atomic_read_u64(&ready_bitmap()[word_no]) != 0)
			bits = pg_atomic_exchange_u64(&ready_bitmap()[word_no], 0);
		word_no++;
	}

	{
		int			bit = pg_rightmost_one_pos64(bits);

		bits &= bits - 1;
		return (word_no - 1) * 64 + bit;
	}
}

/* The worker's own counters. */
DpStats *
dp_mailbox_stats_of_mine(void)
{
	return &mailbox->stats;
}

/* Has anybody poked us since we asked last? */
bool
dp_mailbox_was_poked(void)
{
	return pg_atomic_read_u32(&mailbox->poked) != 0 &&
		pg_atomic_exchange_u32(&mailbox->poked, 0) != 0;
}

/* Does that session still wait for that request of its? */
bool
dp_mailbox_is_waiting(const DpWaiter *waiter)
{
	return pg_atomic_read_u64(&mailbox->slots[waiter->slot].word) ==
		WORD(waiter->seq, SLOT_TAKEN);
}

/*
 * Copy a posted request without taking it.  False if it has been withdrawn.
 * The copy may be torn; only a successful take proves that it is not.
 */
bool
dp_mailbox_peek(int slot_no, DpAsk *ask, DpWaiter *waiter)
{
	Slot	   *slot = &mailbox->slots[slot_no];
	uint64		word = pg_atomic_read_u64(&slot->word);

	if (WORD_STATE(word) != SLOT_POSTED)
		return false;
	pg_memory_barrier();
	*ask = slot->ask;
	waiter->slot = slot_no;
	waiter->seq = WORD_SEQ(word);
	return true;
}

/* Take a request; false if it has been withdrawn since it was copied. */
bool
dp_mailbox_take(const DpWaiter *waiter)
{
	uint64		expected = WORD(waiter->seq, SLOT_POSTED);

	pg_memory_barrier();
	return pg_atomic_compare_exchange_u64(&mailbox->slots[waiter->slot].word, &expected,
										  WORD(waiter->seq, SLOT_TAKEN));
}

/*
 * Answer a request that was taken.  Goes nowhere if its session waits no more;
 * the answer is written before that is known, which harms nobody, since a slot
 * has one session and that reads the answer only when told that it is there.
 */
void
dp_mailbox_reply(const DpWaiter *waiter, const DpAnswer *answer)
{
	Slot	   *slot = &mailbox->slots[waiter->slot];
	uint64		expected = WORD(waiter->seq, SLOT_TAKEN);

	if (pg_atomic_read_u64(&slot->word) != expected)
		return;
	slot->answer = *answer;
	pg_memory_barrier();
	if (pg_atomic_compare_exchange_u64(&slot->word, &expected,
									   WORD(waiter->seq, SLOT_DONE)))
		wake(waiter->slot);
}
