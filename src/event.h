/*
 * event.h
 *	  What happened besides.
 */
#ifndef DIGIPAY_EVENT_H
#define DIGIPAY_EVENT_H

#include "digipay.h"

extern void dp_event_write(const char *server, const char *ref_id, const char *kind,
						   const char *note, const DpResponse *response);

#endif							/* DIGIPAY_EVENT_H */
