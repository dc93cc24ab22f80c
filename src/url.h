/*
 * url.h
 *	  What an endpoint's address says.
 */
#ifndef DIGIPAY_URL_H
#define DIGIPAY_URL_H

typedef struct DpUrl
{
	char		host[254];		/* lower case; IPv6 in brackets */
	bool		tls;			/* https */
	bool		credentials;	/* a user name or password is in it */
	bool		loopback;		/* the host is this machine by name or number */
} DpUrl;

extern bool dp_url_read(const char *text, DpUrl *url);

#endif							/* DIGIPAY_URL_H */
