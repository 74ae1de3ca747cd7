/* SPDX-License-Identifier: Apache-2.0 */
/* What a simulated run is made of: the instance, its cloud's habits and faults, its pods, the daemon's settings. */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/config.h"

/** struct sim_range - a time in µs, drawn anew for each use. */
struct sim_range {
	int64_t low_us, high_us;
};

/** struct sim_shape - the instance and the subnet that its NICs are in. */
struct sim_shape {
	unsigned nics_max;
	unsigned units_per_nic;
	uint8_t unit_len, single_len;
	uint8_t subnet_len;
	unsigned blocks_at_start; /* units on the primary NIC before the daemon starts */
	unsigned taken_ppm;       /* of the subnet's addresses, by other nodes; in runs, or ... */
	bool scattered;           /* ... each somewhere: no aligned unit is left long before the subnet is full */
};

/** struct sim_latency - of the cloud's calls and of what they set going. */
struct sim_latency {
	struct sim_range metadata, read, assign, create, attach, attaching, link, detach, detaching, remove, nft;
	struct sim_range poll; /* between two readings of a NIC on its way */
};

/** struct sim_faults - what goes wrong; all in ppm of the chances it gets, 0 = never. */
struct sim_faults {
	unsigned lost_request; /* no answer, nothing was done */
	unsigned lost_answer;  /* no answer, but it was done */
	unsigned unavailable;  /* refused before anything was done */
	unsigned denied;
	unsigned partial;     /* of several units some came */
	unsigned no_effect;   /* a release or detach that says yes and does nothing */
	unsigned stale_read;  /* a list from before ... */
	int64_t stale_max_us; /* ... at most so long ago */
	unsigned link_never;  /* an attached NIC whose device does not come until it is attached anew */
	unsigned nft, look, sync, store;
	unsigned read;            /* of the kernel's lists (routes, links), and of spooled DELs */
	unsigned intents;         /* that cannot be read at a start */
	unsigned crash;           /* at each place where a crash matters */
	int64_t crash_mean_us;    /* between crashes at any moment; 0 = none */
	unsigned store_lost;      /* the store does not survive a crash */
	struct sim_range restart; /* how long the daemon stays away */
	/* token bucket of mutations; 0 per minute: unlimited */
	unsigned mutations_per_minute, mutation_burst;
};

/** struct sim_others - whoever else uses the same account; mean times between deeds, 0 = never. */
struct sim_others {
	int64_t attach_nic_us, steal_block_us, add_block_us, subnet_us;
	int64_t close_nic_us; /* closes a NIC of ours to pods, or opens it */
};

/** struct sim_load - the pods. */
struct sim_load {
	unsigned pods_max;         /* alive or on their way at once */
	unsigned at_start;         /* in one burst */
	int64_t arrival_us;        /* mean time between arrivals; 0: none by themselves */
	unsigned burst_ppm;        /* of arrivals: several at once ... */
	unsigned burst_max;        /* ... at most so many */
	struct sim_range lifetime; /* high 0: for ever */
	unsigned mass_delete_ppm;  /* of arrivals: instead all pods go */
	struct sim_range wire;     /* from the daemon's answer to a wired pod */
	/* ppm of pods: */
	unsigned killed_waiting; /* the plugin, before its ADD is answered, ... */
	unsigned killed_unwired; /* ... with an address and before it made the link, ... */
	unsigned killed_wired;   /* ... before it confirmed */
	unsigned no_del;         /* of those, and of those that vanish: nobody ever says DEL */
	unsigned del_early;      /* DEL before the ADD was answered */
	unsigned del_twice;
	unsigned del_unheard; /* spooled though there is a daemon, as when it was too slow to answer */
	unsigned
		same_again; /* ADD of the sandbox that a DEL was just said of: what failed, or was taken to be given back */
	unsigned vanish; /* gone without DEL, which comes minutes later or (no_del) never */
	unsigned ports;  /* with a port of the node, the same in each of their sandboxes */
};

struct scenario {
	uint64_t seed;
	struct config config; /* of the daemon */
	struct sim_shape shape;
	struct sim_latency latency;
	struct sim_faults faults;
	struct sim_others others;
	struct sim_load load;
};

/** scenario_quiet() - an instance of 4 NICs x 15 addresses with EC2's latencies, without faults or pods of its own. */
void scenario_quiet(struct scenario *ret);
/** scenario_draw() - all of it from @seed. */
void scenario_draw(uint64_t seed, struct scenario *ret);

#endif
