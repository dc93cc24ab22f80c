/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Which addresses src/address.c lets a payment go to.  Prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "address.h"

static const struct
{
	const char *peer;
	bool		public;
	bool		loopback;
}			cases[] = {
	{"103.10.10.10", true, false}, {"8.8.8.8", true, false}, {"172.15.0.1", true, false},
	{"172.32.0.1", true, false}, {"100.63.255.255", true, false}, {"100.128.0.0", true, false},
	{"192.167.1.1", true, false}, {"169.253.1.1", true, false}, {"11.0.0.1", true, false},
	{"223.255.255.255", true, false},
	{"127.0.0.1", false, true}, {"127.255.255.254", false, true}, {"0.0.0.0", false, false},
	{"10.1.2.3", false, false}, {"172.16.0.1", false, false}, {"172.31.255.255", false, false},
	{"192.168.1.1", false, false}, {"169.254.169.254", false, false}, {"100.64.0.1", false, false},
	{"100.127.255.255", false, false}, {"224.0.0.1", false, false}, {"255.255.255.255", false, false},
	{"2001:4860:4860::8888", true, false}, {"2400:cb00::1", true, false},
	{"::1", false, true}, {"::", false, false}, {"fe80::1", false, false}, {"fec0::1", false, false},
	{"fc00::1", false, false}, {"fdff::1", false, false}, {"ff02::1", false, false},
	/* an IPv4 address inside */
	{"::ffff:8.8.8.8", true, false}, {"::ffff:10.0.0.1", false, false},
	{"::ffff:169.254.169.254", false, false}, {"::10.0.0.1", false, false},
	{"64:ff9b::8.8.8.8", true, false}, {"64:ff9b::a9fe:a9fe", false, false},
	{"64:ff9b::10.0.0.1", false, false}, {"2002:808:808::1", true, false},
	{"2002:a9fe:a9fe::1", false, false}, {"2002:7f00:1::", false, false},
	{"2003:a9fe:a9fe::1", true, false},
};

int
main(void)
{
	int			failures = 0;
	int			tests = 0;

	for (int i = 0; i < (int) lengthof(cases); i++)
	{
		bool		good = (dp_address_refusal(cases[i].peer, false, false) == NULL) == cases[i].public &&
			dp_address_refusal(cases[i].peer, true, false) == NULL &&
			(dp_address_refusal(cases[i].peer, true, true) == NULL) == cases[i].loopback;

		printf("%sok %d - %s is %s\n", good ? "" : "not ", ++tests, cases[i].peer,
			   cases[i].public ? "public" : cases[i].loopback ? "loopback" : "private");
		failures += !good;
	}
	{
		bool		good = dp_address_refusal("fe80::1%eth0", true, false) != NULL &&
			dp_address_refusal("example.com", true, false) != NULL &&
			dp_address_refusal("", true, false) != NULL;

		printf("%sok %d - what is no address\n", good ? "" : "not ", ++tests);
		failures += !good;
	}
	printf("1..%d\n", tests);
	return failures != 0;
}
