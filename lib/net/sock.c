/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: one exchange with the kernel
 *
 * A change is one datagram there and one acknowledgement back; a question is one there and one back; a dump is one
 * there and as many back as it takes. Rtnetlink does its work inside our send(), so when send() returns, the answer is
 * already queued: NET_TIMEOUT_S can only pass when it was lost.
 *
 * Changes that are known beforehand go there in one datagram (a batch) and only the last is acknowledged. The kernel makes
 * them in order and goes on behind one that it refuses, which it tells. Which one that was and what its refusal means is
 * not worked out: all our changes can be made twice, so that whoever wants to know makes them again one by one.
 *
 * Whatever does not carry the sequence number of the question is the tail of an earlier exchange that was given up,
 * and is thrown away. A dump that was given up goes on, and the kernel begins no other beside it (EBUSY): the next dump
 * reads it to its end first. So a socket needs no repair after a failure.
 *
 * A dump is read to its end before its first item is shown: the kernel can say in the last datagram that the table has
 * changed meanwhile and the dump must be made again; whoever was shown the first half would see it twice. It also
 * leaves the socket free: the callback of a walk may make requests on the socket that it walks on.
 *
 * libnl builds and reads messages. Its receive path is not used: it maps errno to fewer codes, allocates per datagram
 * and drops the extended error text.
 */
#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "berth/clock.h"
#include "berth/str.h"

#include "net_internal.h"

/* ---- sockets ---- */

static void set_option(int fd, int option)
{
	int one = 1;

	/* Each is a comfort that an older kernel may lack: error text, short errors, filtered dumps. */
	(void)setsockopt(fd, SOL_NETLINK, option, &one, sizeof(one));
}

/* Of libnl's sockets nothing is used: connecting one loses the errno and asks the kernel four times for what we know. */
int net_sock_new(int protocol, int sock_flags)
{
	struct timeval timeout = { .tv_sec = NET_TIMEOUT_S };
	struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | sock_flags, protocol);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		return -errno;
	set_option(fd, NETLINK_EXT_ACK);
	set_option(fd, NETLINK_CAP_ACK);
	set_option(fd, NETLINK_GET_STRICT_CHK);
	return take_fd(fd);
}

int net_new(int protocol, struct net **ret)
{
	struct net *net = malloc(sizeof(*net)); /* not zeroed: the buffer is touched only as far as answers reach */
	int rc;

	if (!net)
		return -ENOMEM;
	net->fd = net_sock_new(protocol, 0);
	if (net->fd < 0) {
		rc = net->fd;
		free(net);
		return rc;
	}
	net->seq = 0;
	net->batch = (struct net_batch){ 0 };
	*ret = net;
	return 0;
}

int net_open(struct net **ret, struct err *err)
{
	int rc = net_new(NETLINK_ROUTE, ret);

	return rc < 0 ? net_fail(err, rc, NULL, "open netlink socket") : 0;
}

void net_close(struct net *net)
{
	if (!net)
		return;
	(void)close(net->fd);
	free(net);
}

ssize_t net_receive(int fd, void *buf, size_t size)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr hdr = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t n = recvmsg(fd, &hdr, 0);

	if (n < 0)
		return -errno;
	if (hdr.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return from.nl_pid == 0 ? n : 0;
}

/* ---- messages ---- */

void net_msg_init(struct net_msg *msg, int type, int flags, const void *hdr, size_t hdr_size)
{
	msg->nl = nlmsg_alloc_simple(type, flags | NLM_F_REQUEST);
	msg->failed = !msg->nl;
	net_msg_raw(msg, hdr, hdr_size);
}

void net_msg_done(struct net_msg *msg)
{
	if (msg->nl)
		nlmsg_free(msg->nl);
}

void net_msg_put(struct net_msg *msg, int attr, const void *bytes, size_t size)
{
	if (!msg->failed)
		msg->failed = nla_put(msg->nl, attr, (int)size, bytes) < 0;
}

void net_msg_raw(struct net_msg *msg, const void *bytes, size_t size)
{
	void *room;

	if (msg->failed)
		return;
	room = nlmsg_reserve(msg->nl, size, NLMSG_ALIGNTO);
	if (room)
		memcpy(room, bytes, size);
	else
		msg->failed = true;
}

void net_msg_u32(struct net_msg *msg, int attr, uint32_t value)
{
	net_msg_put(msg, attr, &value, sizeof(value));
}

void net_msg_str(struct net_msg *msg, int attr, const char *text)
{
	net_msg_put(msg, attr, text, strlen(text) + 1);
}

void net_msg_addr(struct net_msg *msg, int attr, const struct ipaddr *addr)
{
	net_msg_put(msg, attr, addr->bytes, ipaddr_len(addr));
}

struct nlattr *net_msg_nest(struct net_msg *msg, int attr)
{
	struct nlattr *nest = msg->failed ? NULL : nla_nest_start(msg->nl, attr);

	msg->failed = !nest;
	return nest;
}

void net_msg_nest_end(struct net_msg *msg, struct nlattr *nest)
{
	if (!msg->failed)
		nla_nest_end(msg->nl, nest);
}

/* ---- exchanges ---- */

struct exchange {
	uint32_t seq;
	uint32_t before; /* of a batch: messages before that one, of which a refusal is told too */
	bool dump;
	bool interrupted;                                      /* dump only: NLM_F_DUMP_INTR was seen */
	int64_t deadline_us;                                   /* of the whole answer; 0: NET_TIMEOUT_S from now */
	int rc;                                                /* 0 or -errno so far */
	int (*take)(struct exchange *x, struct nlmsghdr *hdr); /* one data message; 0 or -errno */
	net_parse_fn parse;
	void *item;            /* of net_get() and net_stream() */
	struct net_list *list; /* of net_dump() */
	struct net_ack *ack;
};

/* The text stands behind the error number and, unless the kernel capped it, behind a copy of our request. */
static void take_ack_text(struct exchange *x, struct nlmsghdr *hdr, size_t fixed)
{
	static const struct nla_policy policy[NLMSGERR_ATTR_MAX + 1] = { [NLMSGERR_ATTR_MSG] = { .type = NLA_STRING } };
	struct nlattr *tb[NLMSGERR_ATTR_MAX + 1];

	if (!(hdr->nlmsg_flags & NLM_F_ACK_TLVS) || nlmsg_datalen(hdr) < (int)fixed)
		return;
	if (nla_parse(tb, NLMSGERR_ATTR_MAX, nlmsg_attrdata(hdr, (int)fixed), nlmsg_attrlen(hdr, (int)fixed), policy) <
	    0)
		return;
	if (tb[NLMSGERR_ATTR_MSG])
		(void)nla_strlcpy(x->ack->text, tb[NLMSGERR_ATTR_MSG], sizeof(x->ack->text));
}

static void take_error(struct exchange *x, struct nlmsghdr *hdr)
{
	const struct nlmsgerr *e = nlmsg_data(hdr);
	size_t fixed = sizeof(*e);

	if (nlmsg_datalen(hdr) < (int)sizeof(*e)) {
		x->rc = -EBADMSG;
		return;
	}
	if (x->rc != 0)
		return;
	x->rc = e->error > 0 ? -EBADMSG : e->error;
	/* A kernel that ignored NETLINK_CAP_ACK repeats our request; its length is ours, so it cannot overflow. */
	if (!(hdr->nlmsg_flags & NLM_F_CAPPED) && e->error != 0 && e->msg.nlmsg_len > NLMSG_HDRLEN)
		fixed += e->msg.nlmsg_len - (uint32_t)NLMSG_HDRLEN;
	if (e->error != 0)
		take_ack_text(x, hdr, fixed);
}

/* The end of a dump may carry an errno: the kernel failed half way. */
static void take_done(struct exchange *x, struct nlmsghdr *hdr)
{
	int code = 0;

	if (nlmsg_datalen(hdr) >= (int)sizeof(code))
		memcpy(&code, nlmsg_data(hdr), sizeof(code));
	if (code < 0 && x->rc == 0)
		x->rc = code;
	if (code < 0)
		take_ack_text(x, hdr, sizeof(code));
}

/* Return: true when the exchange is over. */
static bool take_message(struct exchange *x, struct nlmsghdr *hdr)
{
	if (hdr->nlmsg_seq != x->seq) {
		if (hdr->nlmsg_type == NLMSG_ERROR && x->seq - hdr->nlmsg_seq <= x->before)
			take_error(x, hdr);
		return false;
	}
	if (hdr->nlmsg_flags & NLM_F_DUMP_INTR)
		x->interrupted = true;
	if (hdr->nlmsg_type == NLMSG_ERROR) {
		take_error(x, hdr);
		return true;
	}
	if (hdr->nlmsg_type == NLMSG_DONE) {
		take_done(x, hdr);
		return true;
	}
	if (hdr->nlmsg_type < NLMSG_MIN_TYPE)
		return false;
	/* After a failure the rest of a dump is only read to free the socket. */
	if (x->rc == 0 && x->take)
		x->rc = x->take(x, hdr);
	return !x->dump && x->take;
}

static int receive_all(struct net *net, struct exchange *x)
{
	const int64_t deadline_us =
		x->deadline_us ? x->deadline_us : clock_now(&clock_boot) + NET_TIMEOUT_S * USEC_PER_SEC;
	bool over = false;

	while (!over) {
		ssize_t n = net_receive(net->fd, net->buf, sizeof(net->buf));
		int left = (int)n;

		if (n < 0 && n != -EINTR)
			return (int)n;
		for (struct nlmsghdr *hdr = (void *)net->buf; !over && nlmsg_ok(hdr, left);
		     hdr = nlmsg_next(hdr, &left))
			over = take_message(x, hdr);
		if (!over && clock_now(&clock_boot) > deadline_us)
			return -ETIMEDOUT;
	}
	return x->rc;
}

static int exchange(struct net *net, struct net_msg *msg, struct exchange *x)
{
	struct nlmsghdr *hdr;
	ssize_t n;

	assert(!net->batch.on);
	x->ack->text[0] = '\0';
	if (msg->failed)
		return -ENOMEM;
	hdr = nlmsg_hdr(msg->nl);
	x->seq = hdr->nlmsg_seq = ++net->seq; /* a repeated dump gets a number of its own */
	n = send(net->fd, hdr, hdr->nlmsg_len, 0);
	if (n < 0)
		return -errno;
	return receive_all(net, x);
}

static int batch_add(struct net *net, struct net_msg *msg)
{
	struct net_batch *batch = &net->batch;
	struct nlmsghdr *hdr = msg->failed ? NULL : nlmsg_hdr(msg->nl);
	size_t size = hdr ? NLMSG_ALIGN(hdr->nlmsg_len) : 0;

	if (!hdr || size > sizeof(net->buf) - batch->size) {
		batch->failed = true;
		return -ENOMEM;
	}
	hdr->nlmsg_seq = ++net->seq;
	memcpy(net->buf + batch->size, hdr, hdr->nlmsg_len);
	batch->last = (struct nlmsghdr *)(void *)(net->buf + batch->size);
	batch->size += size;
	batch->count++;
	return 0;
}

void net_batch_begin(struct net *net)
{
	assert(!net->batch.on);
	net->batch = (struct net_batch){ .on = true };
}

/* The last one is acknowledged; of those before it only what the kernel refuses. */
static int batch_send(struct net *net, const struct net_batch *batch, struct net_ack *ack)
{
	struct exchange x = { .seq = net->seq, .before = batch->count - 1, .ack = ack };

	if (batch->failed)
		return -ENOMEM;
	batch->last->nlmsg_flags |= NLM_F_ACK;
	if (send(net->fd, net->buf, batch->size, 0) < 0)
		return -errno;
	return receive_all(net, &x);
}

int net_batch_end(struct net *net, struct err *err)
{
	struct net_batch batch = net->batch;
	struct net_ack ack = { "" };
	int rc;

	assert(batch.on);
	net->batch = (struct net_batch){ 0 };
	if (batch.count == 0 && !batch.failed)
		return 0;
	rc = batch_send(net, &batch, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "one of %u changes", batch.count) : 0;
}

int net_call(struct net *net, struct net_msg *msg, struct net_ack *ack)
{
	struct exchange x = { .ack = ack };

	ack->text[0] = '\0';
	if (net->batch.on)
		return batch_add(net, msg);
	if (!msg->failed)
		nlmsg_hdr(msg->nl)->nlmsg_flags |= NLM_F_ACK;
	return exchange(net, msg, &x);
}

static int take_item(struct exchange *x, struct nlmsghdr *hdr)
{
	int rc = x->parse(hdr, x->item);

	return rc > 0 ? -EBADMSG : rc; /* the one answer is not what was asked for */
}

int net_get(struct net *net, struct net_msg *msg, net_parse_fn parse, void *item, struct net_ack *ack)
{
	struct exchange x = { .take = take_item, .parse = parse, .item = item, .ack = ack };

	return exchange(net, msg, &x);
}

/* Return: room for one more item behind the last, NULL when there is none; *ret_rc says why. */
static void *list_room(struct net_list *list, int *ret_rc)
{
	size_t alloc = list->alloc ? list->alloc * 2 : 16;
	void *items;

	if (list->count == list->alloc) {
		items = list->count < NET_DUMP_MAX ? realloc(list->items, alloc * list->item_size) : NULL;
		if (!items) {
			*ret_rc = list->count < NET_DUMP_MAX ? -ENOMEM : -EOVERFLOW;
			return NULL;
		}
		list->items = items;
		list->alloc = alloc;
	}
	return (char *)list->items + list->count * list->item_size;
}

static int take_listed(struct exchange *x, struct nlmsghdr *hdr)
{
	int rc = 0;
	void *item = list_room(x->list, &rc);

	if (!item)
		return rc;
	rc = x->parse(hdr, item);
	if (rc == 0)
		x->list->count++;
	return rc < 0 ? rc : 0;
}

/* The kernel makes a dump's next datagram when one is read: where there is none, it is over. */
static void read_off(struct net *net)
{
	for (unsigned i = 0; i < NET_DUMP_MAX; i++)
		if (recv(net->fd, net->buf, sizeof(net->buf), MSG_DONTWAIT) < 0 && errno != EINTR)
			return;
}

/* @rc: how the dump ended; what is told if it is never better. */
static bool is_to_repeat(struct net *net, const struct exchange *x, int *rc)
{
	if (*rc == -EBUSY) {
		read_off(net);
		return true;
	}
	if (*rc < 0 || !x->interrupted)
		return false;
	*rc = -EINTR;
	return true;
}

int net_dump(struct net *net, struct net_msg *msg, net_parse_fn parse, struct net_list *list, struct net_ack *ack)
{
	int rc = 0;

	if (!msg->failed)
		nlmsg_hdr(msg->nl)->nlmsg_flags |= NLM_F_DUMP;
	for (int i = 0; i < NET_DUMP_TRIES; i++) {
		struct exchange x = { .dump = true, .take = take_listed, .parse = parse, .list = list, .ack = ack };

		list->count = 0;
		rc = exchange(net, msg, &x);
		if (!is_to_repeat(net, &x, &rc))
			return rc;
	}
	return rc;
}

static int take_streamed(struct exchange *x, struct nlmsghdr *hdr)
{
	int rc = x->parse(hdr, x->item);

	return rc < 0 ? rc : 0;
}

int net_stream(struct net *net, struct net_msg *msg, net_parse_fn see, void *arg, int64_t deadline_us,
	       struct net_ack *ack)
{
	int rc = 0;

	if (!msg->failed)
		nlmsg_hdr(msg->nl)->nlmsg_flags |= NLM_F_DUMP;
	for (int i = 0; i < NET_DUMP_TRIES; i++) {
		struct exchange x = { .dump = true,
				      .deadline_us = deadline_us,
				      .take = take_streamed,
				      .parse = see,
				      .item = arg,
				      .ack = ack };

		rc = exchange(net, msg, &x);
		if (!is_to_repeat(net, &x, &rc))
			return rc;
	}
	return rc;
}

void net_list_done(struct net_list *list)
{
	free(list->items);
}

/* ---- errors ---- */

enum err_class net_err_class(int errnum)
{
	switch (errnum) {
	case ENODEV:
	case ENXIO:
	case ESRCH:
	case ENOENT:
	case EADDRNOTAVAIL:
		return ERR_NOTFOUND;
	case EEXIST:
		return ERR_CONFLICT;
	case ENOBUFS:
	case ENOMEM:
	case ENOSPC:
	case EMFILE:
	case ENFILE:
	case EOVERFLOW:
		return ERR_EXHAUSTED;
	case EPERM:
	case EACCES:
		return ERR_AUTH;
	case EBUSY:
	case EINTR:
	case EAGAIN:
	case ETIMEDOUT:
	case ENETDOWN: /* the device is not up yet */
		return ERR_RETRY;
	case EBADMSG:
	case EMSGSIZE:
		return ERR_PROTOCOL;
	default: /* EINVAL, ERANGE, EOPNOTSUPP, ENETUNREACH, ...: as asked, the kernel will never do it */
		return ERR_INVALID;
	}
}

int net_fail(struct err *err, int rc, const struct net_ack *ack, const char *fmt, ...)
{
	char what[160]; /* bytes; leaves room in err.msg for the kernel's words */
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (ack && ack->text[0])
		return err_set_errno(err, net_err_class(-rc), NET_DOMAIN, -rc, "%s: kernel says \"%s\"", what,
				     ack->text);
	return err_set_errno(err, net_err_class(-rc), NET_DOMAIN, -rc, "%s", what);
}
