/*
 * place.h
 *	  How many requests may be in flight, to each server and in all.
 */
#ifndef DIGIPAY_PLACE_H
#define DIGIPAY_PLACE_H

extern void dp_place_init(void);
extern bool dp_place_is_free(Oid server);
extern void dp_place_take(Oid server);
extern void dp_place_give_back(Oid server);
extern void dp_place_limit(Oid server, int max_in_flight);
extern bool dp_places_news(void);
extern int	dp_places_taken(void);

#endif							/* DIGIPAY_PLACE_H */
