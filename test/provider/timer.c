/*
 * timer.c
 *		Calls made later, by one thread.
 *
 * A delayed answer must not cost a thread: a thousand of them wait here as a
 * thousand entries of a heap ordered by their time.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "buffer.h"
#include "timer.h"

typedef struct TimerEntry
{
	double		at;				/* on the steady clock */
	TimerCall	call;
	void	   *argument;
} TimerEntry;

static pthread_t timer_thread;
static pthread_mutex_t timer_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t timer_changed;

static TimerEntry *heap;		/* heap[0] is the next one */
static size_t heap_length;
static size_t heap_size;
static TimerEntry *held;		/* those for timer_hold(false), in their order */
static size_t held_length;
static bool holding;
static bool stopping;

/*
 * Put an entry in its place.  Caller holds the mutex.
 */
static void
heap_push(TimerEntry entry)
{
	size_t		place = heap_length++;

	if (heap_length > heap_size)
	{
		heap_size = heap_size ? heap_size * 2 : 1024;
		heap = realloc(heap, heap_size * sizeof(TimerEntry));
		if (heap == NULL)
			abort();
	}
	while (place > 0 && heap[(place - 1) / 2].at > entry.at)
	{
		heap[place] = heap[(place - 1) / 2];
		place = (place - 1) / 2;
	}
	heap[place] = entry;
}

/*
 * Take the earliest entry out.  Caller holds the mutex and knows there is one.
 */
static TimerEntry
heap_pop(void)
{
	TimerEntry	first = heap[0];
	TimerEntry	last = heap[--heap_length];
	size_t		place = 0;

	for (;;)
	{
		size_t		child = place * 2 + 1;

		if (child >= heap_length)
			break;
		if (child + 1 < heap_length && heap[child + 1].at < heap[child].at)
			child++;
		if (heap[child].at >= last.at)
			break;
		heap[place] = heap[child];
		place = child;
	}
	heap[place] = last;
	return first;
}

/*
 * Let what is held be due now.  Caller holds the mutex.
 */
static void
release_held(void)
{
	for (size_t i = 0; i < held_length; i++)
	{
		held[i].at = now_steady();
		heap_push(held[i]);
	}
	free(held);
	held = NULL;
	held_length = 0;
}

/*
 * The thread: sleep until the earliest entry is due, call it without the
 * mutex, and once stopping call all that is left.
 */
static void *
timer_run(void *unused)
{
	(void) unused;
	pthread_mutex_lock(&timer_mutex);
	for (;;)
	{
		if (heap_length == 0)
		{
			if (stopping)
				break;
			pthread_cond_wait(&timer_changed, &timer_mutex);
		}
		else if (stopping || heap[0].at <= now_steady())
		{
			TimerEntry	entry = heap_pop();

			pthread_mutex_unlock(&timer_mutex);
			entry.call(entry.argument);
			pthread_mutex_lock(&timer_mutex);
		}
		else
		{
			struct timespec until;

			until.tv_sec = (time_t) heap[0].at;
			until.tv_nsec = (long) ((heap[0].at - (double) until.tv_sec) * 1e9);
			pthread_cond_timedwait(&timer_changed, &timer_mutex, &until);
		}
	}
	pthread_mutex_unlock(&timer_mutex);
	return NULL;
}

/*
 * Start the thread.
 */
bool
timer_start(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&timer_changed, &attributes);
	return pthread_create(&timer_thread, NULL, timer_run, NULL) == 0;
}

/*
 * From now on TIMER_HELD waits for the end of that; with false what has waited
 * is due.
 */
void
timer_hold(bool hold)
{
	pthread_mutex_lock(&timer_mutex);
	holding = hold;
	if (!hold)
		release_held();
	pthread_cond_signal(&timer_changed);
	pthread_mutex_unlock(&timer_mutex);
}

/*
 * Have call(argument) made by the timer's thread in so many milliseconds, or,
 * with TIMER_HELD, by timer_hold(false), which may have been called just now; at
 * once, by the caller's thread, when the timer was stopped.
 */
void
timer_add(int milliseconds, TimerCall call, void *argument)
{
	bool		hold = milliseconds == TIMER_HELD;
	TimerEntry	entry = {now_steady() + (hold ? 0 : milliseconds) / 1e3, call, argument};
	bool		late;

	pthread_mutex_lock(&timer_mutex);
	late = stopping;
	if (!late && hold && holding)
	{
		held = realloc(held, (held_length + 1) * sizeof(TimerEntry));
		if (held == NULL)
			abort();
		held[held_length++] = entry;
	}
	else if (!late)
	{
		heap_push(entry);
		if (heap[0].argument == argument)
			pthread_cond_signal(&timer_changed);
	}
	pthread_mutex_unlock(&timer_mutex);
	if (late)
		call(argument);
}

/*
 * Make all calls now and end the thread.
 */
void
timer_stop(void)
{
	pthread_mutex_lock(&timer_mutex);
	stopping = true;
	release_held();
	pthread_cond_signal(&timer_changed);
	pthread_mutex_unlock(&timer_mutex);
	pthread_join(timer_thread, NULL);
	free(heap);
	heap = NULL;
}
