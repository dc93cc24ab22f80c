/*
 * settings.h
 *		What may change while the double runs.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct Settings
{
	/* fixed at start */
	const char *username;
	const char *api_key;

	/* changed by POST /control, read by every thread */
	_Atomic int delay;			/* ms before each transaction's reply, or
								 * TIMER_HELD */
	_Atomic int pending;		/* ms until a pending payment resolves */
	_Atomic int price_list_limit;	/* ms between two price lists */
	_Atomic bool insist_on_inquiry;
	_Atomic bool status_echoes_inquiry;
	_Atomic bool unique_ref_id;
	_Atomic bool malaysian;		/* status words, and amounts with decimals */
	_Atomic bool error_objects; /* refusals are {rc, message} */
} Settings;

extern Settings settings;

#endif							/* SETTINGS_H */
