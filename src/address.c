/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Which network addresses a payment may go to.
 *
 * A name may be made to lead into the server's own network; unless its superuser
 * has allowed that, such addresses are refused, in whatever IPv6 address they
 * are wrapped.  Called from libcurl's callbacks, so it neither allocates nor
 * raises.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "address.h"

/* Is the address one that the public Internet does not route? */
static bool
is_private_v4(uint32 address)
{
	return (address >> 24) == 0 || (address >> 24) == 10 || (address >> 24) == 127 ||
		(address >> 20) == 0xAC1 ||		/* 172.16.0.0/12 */
		(address >> 16) == 0xC0A8 ||	/* 192.168.0.0/16 */
		(address >> 16) == 0xA9FE ||	/* 169.254.0.0/16, link-local */
		(address >> 22) == (0x64400000 >> 22) ||	/* 100.64.0.0/10, carriers' */
		(address >> 28) >= 0xE;	/* multicast and reserved */
}

/* Four bytes as an IPv4 address. */
static uint32
v4_at(const uint8 *b)
{
	return (uint32) b[0] << 24 | (uint32) b[1] << 16 | (uint32) b[2] << 8 | b[3];
}

/* The same for IPv6, and for an IPv4 address that is wrapped in one. */
static bool
is_private_v6(const struct in6_addr *address)
{
	static const uint8 nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
	const uint8 *b = address->s6_addr;

	if (IN6_IS_ADDR_UNSPECIFIED(address) || IN6_IS_ADDR_LOOPBACK(address) ||
		IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_SITELOCAL(address) ||
		(b[0] & 0xFE) == 0xFC || b[0] == 0xFF)
		return true;
	/* an IPv4 address in an IPv6 one: mapped, compatible, by NAT64, by 6to4 */
	if (IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address) ||
		memcmp(b, nat64, sizeof(nat64)) == 0)
		return is_private_v4(v4_at(b + 12));
	if (b[0] == 0x20 && b[1] == 0x02)
		return is_private_v4(v4_at(b + 2));
	return false;
}

/*
 * What speaks against this peer, a numeric address as text without brackets;
 * NULL if nothing does.
 */
const char *
dp_address_refusal(const char *peer, bool private_allowed, bool loopback_only)
{
	struct in_addr v4;
	struct in6_addr v6;
	bool		private;
	bool		loopback;

	if (inet_pton(AF_INET, peer, &v4) == 1)
	{
		private = is_private_v4(ntohl(v4.s_addr));
		loopback = (ntohl(v4.s_addr) >> 24) == 127;
	}
	else if (inet_pton(AF_INET6, peer, &v6) == 1)
	{
		private = is_private_v6(&v6);
		loopback = IN6_IS_ADDR_LOOPBACK(&v6);
	}
	else
		return "the endpoint's address is of an unknown family";
	if (private && !private_allowed)
		return "the endpoint's address is a loopback, private or link-local one, which the server option allow_private_address does not allow";
	if (loopback_only && !loopback)
		return "the endpoint's address is not a loopback one, and plain http is for these only";
	return NULL;
}
