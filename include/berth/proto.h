/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the socket messages, version 1
 *
 * One JSON object a line, one request per connection, the daemon closes after its reply. Unknown fields are ignored, an
 * unknown "v" or "op" is refused by name, so that plugin and daemon of neighbouring releases work together.
 *
 *   {"v":1,"op":"add","network":"berth","container":"3f…","ifname":"eth0","netns":"/run/netns/cni-1",
 *    "pod_namespace":"default","pod_name":"web-0","pod_uid":"…","timeout_ms":60000}
 *   {"v":1,"ok":true,"address":"10.0.1.17/32","gateway":"169.254.1.1","mtu":9001,"host_ifname":"bth0a1b2c3d4e5",
 *    "addresses":[{"address":"10.0.1.17/32","gateway":"169.254.1.1"},{"address":"2600::1/128","gateway":"fe80::1"}]}
 *   {"v":1,"ok":false,"error":{"class":"EXHAUSTED","reason":"subnet_full","msg":"…","hint":"…"}}
 *
 *   {"v":1,"op":"pause","what":"releases"}
 *
 *   {"v":1,"op":"gc","network":"berth","since_us":123456789,"count":2,"valid":["0a1b2c3d4e5f6071","8293a4b5c6d7e8f9"]}
 *   {"v":1,"ok":true,"freed":32,"kept":1,"more":true}
 *
 * `gc` names the attachments that live by the hash of their key. Two keys of one hash keep a lease that could go; none is
 * freed for it, so that hashes are as safe as keys and 4,096 of them fit one message. A list that was cut has no newline
 * or not `count` entries, and frees nothing. One call frees a bounded number: while there is "more", it is repeated.
 *
 * An ADD may bring what the runtime asks of the wiring, where there is anything ("runtime"; 0 or no member: not asked for):
 *
 *   "runtime":{"ports":["tcp:8080:80","udp:53:53@10.0.0.1"],"bandwidth":{"ingress_rate":1000000,"ingress_burst":80000}}
 *
 * and its answer, or that of a CHECK, an address of the family that the cloud gave none of ("egress", an object like those
 * of "addresses"): only the node knows it, pods reach the world of that family with it, and no result lists it.
 *
 * A CHECK says what the node lacks at that moment of what the pod asked for ("missing", a text for people; no member: nothing).
 *
 * An ADD may ask for the name of the host end ("host_ifname"), or for an address that somebody else's plugin wires
 * ("delegated"): then the answer has beside each address its "subnet" and, where one is known, the "router" of that.
 *
 * `status` answers {"v":1,"ok":true}, or an error; "limited" beside it says that pods that run may have lost the network.
 *
 * `confirm`, `del` and `pause` answer {"v":1,"ok":true}. `state` answers {"v":1,"ok":true,"state":{…}}: what berthctl draws; its
 * keys are listed in ipamd/state.c.
 *
 * "addresses" is there when a lease has more than one, one of each family; it holds all of them, and "address" and "gateway"
 * repeat the first. A plugin of a release that does not know it wires that one.
 *
 * Within one version both sides may grow: fields that are not known are ignored, a reason that is not known reads as
 * FAIL_NONE and an error class that is not known as RETRY (the request was refused, so nothing happened); the text for
 * people always comes through.
 */
#ifndef BERTH_PROTO_H
#define BERTH_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/ipaddr.h"

struct json_t;

#define PROTO_VERSION      1
#define PROTO_REQUEST_MAX  8192       /* bytes of a line; a request is under 1 KiB, CNI bounds its parts */
#define PROTO_MISSING_SIZE 256        /* bytes with the NUL: two sentences that fit a CNI error beside others */
#define PROTO_GC_KEYS_MAX  4096U      /* attachments that one node may have; no node runs more pods */
#define PROTO_GC_MAX       (80 << 10) /* bytes of the line of a `gc`: 19 per attachment, and its head */
#define PROTO_REPLY_MAX    (4 << 20)  /* bytes; `state` of a node with 4,000 addresses is about 400 KiB */
#define PROTO_SOCKET       "ipamd.sock"
#define PROTO_RUN_DIR      "/run/berth"
#define PROTO_SPOOL_DIR    "spool" /* below the run directory: DELs that found no daemon */

enum proto_op {
	PROTO_ADD,
	PROTO_CONFIRM,
	PROTO_DEL,
	PROTO_CHECK,
	PROTO_STATUS,
	PROTO_STATE,
	PROTO_PAUSE,
	PROTO_GC,
	PROTO_OP_COUNT
};
/** proto_op_name() - "add", "confirm", ...; "?" for a value that is no op. */
const char *proto_op_name(enum proto_op op);

#define LEASE_NETWORK_SIZE   128
#define LEASE_CONTAINER_SIZE 128 /* 64 hex in practice */
#define LEASE_IFNAME_SIZE    16
#define LEASE_NETNS_SIZE     256
#define LEASE_POD_SIZE       254 /* Kubernetes names are DNS subdomains of up to 253 characters */
#define LEASE_UID_SIZE       64

/** struct lease_key - whose lease it is: CNI network, container ID, interface name. */
struct lease_key {
	char network[LEASE_NETWORK_SIZE];
	char container[LEASE_CONTAINER_SIZE];
	char ifname[LEASE_IFNAME_SIZE];
};

/** struct pod_name - who the pod says it is (CNI_ARGS); empty strings when the runtime did not tell. */
struct pod_name {
	char namespace[LEASE_POD_SIZE];
	char name[LEASE_POD_SIZE];
	char uid[LEASE_UID_SIZE];
};

#define RUNTIME_PORTS_MAX 64 /* of one pod; a request with as many of the longest still fits PROTO_REQUEST_MAX */

/** struct port_map - a port of the node that leads to one of the pod: CNI's capability portMappings. */
struct port_map {
	struct ipaddr host_addr; /* of the node; family 0: any; all zero: any of that family */
	uint16_t host_port, port;
	uint8_t protocol; /* IPPROTO_TCP, _UDP or _SCTP */
};

/** struct bandwidth - CNI's capability of that name: bits per second, and bits; rate 0: not limited. */
struct bandwidth {
	uint64_t ingress_rate, ingress_burst; /* to the pod */
	uint64_t egress_rate, egress_burst;   /* from it */
};

/** struct runtime_config - what a container runtime asks of a pod's wiring beside addresses (CNI's runtimeConfig). */
struct runtime_config {
	struct bandwidth bandwidth;
	unsigned port_count;
	struct port_map ports[RUNTIME_PORTS_MAX];
};
/** runtime_is_empty() - nothing is asked for. */
bool runtime_is_empty(const struct runtime_config *runtime);
/** runtime_print() - as the object that an ADD has as "runtime". Return: owned text, "" when nothing is asked for; NULL
 *  without memory. */
char *runtime_print(const struct runtime_config *runtime);
/** runtime_parse() - what runtime_print() wrote. Errors: PROTOCOL, which names the member. */
int runtime_parse(const char *text, struct runtime_config *ret, struct err *err);
/** runtime_protocol_name() - "tcp", "udp", "sctp"; NULL for others. */
const char *runtime_protocol_name(uint8_t protocol);
/** runtime_protocol_parse() - the protocol of that name in any case of letters. Return: 0 or -EINVAL. */
int runtime_protocol_parse(const char *name, uint8_t *ret);

/** enum pause - what an operator told the daemon to leave undone in the cloud; reads go on, pods are served from the pool. */
enum pause {
	PAUSE_NONE,
	PAUSE_RELEASES, /* nothing is given back */
	PAUSE_ALL,      /* nothing is bought, given back or swept */
	PAUSE_COUNT
};
/** pause_name() - "none", "releases", "all"; "?" for a value that is no pause. */
const char *pause_name(enum pause pause);
/** pause_parse() - the pause of that name. Return: 0 or -EINVAL. */
int pause_parse(const char *name, enum pause *ret);

struct proto_request {
	enum proto_op op;
	struct lease_key key;                /* ADD CONFIRM DEL CHECK; GC: the network alone */
	struct pod_name pod;                 /* ADD */
	char netns[LEASE_NETNS_SIZE];        /* ADD; DEL: may be empty */
	int64_t timeout_ms;                  /* ADD: how long the plugin waits; 0: the daemon's default */
	enum pause pause;                    /* PAUSE */
	char host_ifname[LEASE_IFNAME_SIZE]; /* ADD: name of the host end; empty: proto_host_ifname() */
	bool delegated;                      /* ADD: nothing is wired by us, and the lease is bound at once */
	struct runtime_config runtime;       /* ADD */
	int64_t since_us;                    /* GC: leases younger than this (clock_boot) stay; 0: than the request */
	unsigned valid_count;                /* GC */
	uint64_t
		*valid; /* GC: proto_key_hash() of what lives; owned by a decoded request, proto_request_done() frees */
};
/** proto_request_done() - free what a decoded request owns; NULL and zeroed ones are fine. */
void proto_request_done(struct proto_request *request);
#define _cleanup_request_ _cleanup_(proto_request_done)

/** enum fail_reason - the closed list of why no address came; each has a hint for people. */
enum fail_reason {
	FAIL_NONE,
	FAIL_SUBNET_FULL,
	FAIL_SUBNET_FRAGMENTED,
	FAIL_NIC_LIMIT, /* every NIC that the instance may have is full */
	FAIL_THROTTLED,
	FAIL_PERMISSION, /* the cloud denied an action */
	FAIL_METADATA,   /* metadata or cloud API not reachable */
	FAIL_COOLING,    /* all free addresses are cooling down */
	FAIL_STARTING,   /* the daemon does not know its node yet */
	FAIL_PENDING,    /* asked for, not there in time */
	FAIL_STATE,      /* the daemon cannot keep its own state (store) */
	FAIL_PAUSED,     /* every change in the cloud is paused, or forbidden by the setting access */
	FAIL_REASON_COUNT
};
/** fail_reason_name() - "subnet_full", ...; "none" for FAIL_NONE, "?" for a value that is no reason. */
const char *fail_reason_name(enum fail_reason reason);
/** fail_reason_parse() - the reason of that name. Return: 0 or -EINVAL. */
int fail_reason_parse(const char *name, enum fail_reason *ret);
/** fail_reason_hint() - one sentence: what an operator does about it; "" for FAIL_NONE. */
const char *fail_reason_hint(enum fail_reason reason);

/** struct proto_address - an address of a pod. */
struct proto_address {
	struct prefix address; /* /32 or /128 */
	struct ipaddr
		gateway; /* of the same family; what the pod routes to: 169.254.1.1, fe80::1; delegated: the node's */
	/* delegated ADD; family 0: not known */
	struct prefix subnet; /* that the address is of */
	struct ipaddr router; /* of the cloud, in that subnet */
};

struct proto_reply {
	bool ok;
	/* ok, ADD and CHECK: */
	unsigned address_count;
	struct proto_address addresses[IP_FAMILIES]; /* in the daemon's order, IPv4 first; no two of one family */
	unsigned mtu;                                /* of the pod's interface */
	char host_ifname[LEASE_IFNAME_SIZE];         /* name of the host end */
	bool delegated;                              /* nothing of it is wired by us */
	struct proto_address egress;                 /* of the family that @addresses lacks; family 0: none */
	char missing[PROTO_MISSING_SIZE]; /* CHECK: what the node lacks of that which the pod asked for; "": nothing */
	/* GC, ok or not: */
	bool swept;           /* the three that follow count */
	unsigned freed, kept; /* leases; kept: not listed, but their pods are there */
	bool more;            /* ask again */
	/* ok, STATE: */
	struct json_t *state; /* owned by the reply; proto_reply_done() drops it */
	/* !ok: */
	struct err error;
	enum fail_reason reason;
	bool limited; /* STATUS: pods that run may have lost the network too */
};
/** proto_reply_done() - drop what the reply owns and zero it; NULL, zeroed and finished ones are fine. */
void proto_reply_done(struct proto_reply *reply);
#define _cleanup_reply_ _cleanup_(proto_reply_done)

/* Of a hash, at the end of every host end's name: with a prefix of up to four characters they fill an interface's name. */
#define PROTO_IFNAME_DIGITS 11

/** proto_host_ifname() - "bth" + the first 11 hex digits of the FNV-1a-64 of container ID, "/" and ifname;
 * deterministic, so that what a crash left behind is found by name. */
void proto_host_ifname(const struct lease_key *key, char ret[static LEASE_IFNAME_SIZE]);

/** proto_key_hash() - FNV-1a-64 of network, "/", container ID, "/" and ifname: names the file of a spooled DEL. */
uint64_t proto_key_hash(const struct lease_key *key);

/** proto_ifname_check() - is it a name that the kernel takes for a link: 1-15 printable ASCII characters without "/", ":"
 * and blanks, not "." or ".."? */
bool proto_ifname_check(const char *name);

/** proto_key_check() - are the parts what CNI allows ([A-Za-z0-9][A-Za-z0-9_.-]*, ifname 1-15 bytes without "/",
 * ":" and blanks, not "." or "..")? Errors: INVALID, names the part. */
int proto_key_check(const struct lease_key *key, struct err *err);

/** proto_request_encode() - one line with its newline; at most PROTO_REQUEST_MAX bytes by the sizes of the fields,
 *  PROTO_GC_MAX of a GC, whose @valid_count may be PROTO_GC_KEYS_MAX.
 *  @ret_size: bytes with the newline; may be NULL. Return: owned text, or NULL without memory or when @netns or @pod is
 *  not UTF-8 (JSON cannot say it). */
char *proto_request_encode(const struct proto_request *request, size_t *ret_size);
/** proto_reply_encode() - one line with its newline. Texts of the error that are not UTF-8 are sent as ASCII with "?"
 * for the rest. @ret_size: as above. Return: owned text, or NULL without memory or when it exceeds PROTO_REPLY_MAX. */
char *proto_reply_encode(const struct proto_reply *reply, size_t *ret_size);
/** proto_request_decode() - @line with or without its newline. Fields that an op does not use stay zero; proto_request_done() what
 *  came of it.
 *  Errors: PROTOCOL (too long, not JSON, wrong version, unknown op, missing field, wrong type), INVALID (a field that
 * is too long, a key that is not allowed). */
int proto_request_decode(const char *line, size_t size, struct proto_request *ret, struct err *err);
/** proto_reply_decode() - @ret is filled for ok and for !ok; -1 only if the line is not a reply. An address must be a
 *  whole one (/32, /128) and have a gateway of its family, and no family may come twice. Errors: PROTOCOL. */
int proto_reply_decode(const char *line, size_t size, struct proto_reply *ret, struct err *err);

/**
 * proto_call() - connect, send, wait for the reply, close
 * @socket_path: of the daemon
 * @deadline_us: clock_boot time after which it gives up
 * Return: 0 with @ret filled (ok or not: the caller looks), -1 when no reply came.
 * Errors: NOTFOUND (no socket: daemon not installed or not started), RETRY (connection refused, closed or hung: daemon
 * down; code ETIMEDOUT: hung), AUTH (may not connect), PROTOCOL (not a reply), INVALID (path too long, request that
 * cannot be encoded). code = errno.
 *
 * Context: blocks until @deadline_us at the latest.
 */
int proto_call(const char *socket_path, const struct proto_request *request, int64_t deadline_us,
	       struct proto_reply *ret, struct err *err);

/** struct proto_pending - a request whose answer is still to come. */
struct proto_pending {
	int fd; /* owned; -1: none */
	const char *socket_path;
	int64_t deadline_us;
};
/** proto_send() - the first half of proto_call(). @socket_path: borrowed until the second one. */
int proto_send(const char *socket_path, const struct proto_request *request, int64_t deadline_us,
	       struct proto_pending *ret, struct err *err);
/** proto_receive() - the second half; proto_pending_done() is still the caller's. */
int proto_receive(const struct proto_pending *pending, struct proto_reply *ret, struct err *err);
/** proto_pending_done() - close; whether the answer was waited for or not. */
void proto_pending_done(struct proto_pending *pending);
#define _cleanup_pending_ _cleanup_(proto_pending_done)

#endif
