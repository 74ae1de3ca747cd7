/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon before it touches anything but its store: what ipamd_open() and the simulator have in common. */
#include "ipamd/ipamd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/fs.h"
#include "berth/log.h"

static unsigned serves_of(const struct config *config)
{
	return (config->families.serves[ip_index(IP_V4)] ? POOL_SERVES_V4 : 0) |
	       (config->families.serves[ip_index(IP_V6)] ? POOL_SERVES_V6 : 0);
}

struct ipamd *ipamd_new(const struct config *config, uint64_t random, int64_t now_us)
{
	struct ipamd *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->config = *config;
	d->pause = config->pause;
	if (config->access != CLOUD_ACCESS_FULL) {
		d->pause = PAUSE_ALL;
		(void)err_set(&d->access, ERR_AUTH, "ipamd", "access=%s: nothing is changed in the cloud",
			      config_access_name(config->access));
	}
	d->epoll_fd = d->signal_item.fd = d->timer_item.fd = -1;
	d->waiters_tail = &d->waiters;
	d->host_dirty = true;
	d->random = random ? random : 1;
	d->stats.started_us = now_us;
	demand_init(&d->demand, now_us);
	(void)snprintf(d->socket_path, sizeof(d->socket_path), "%s/%s", config->run_dir, PROTO_SOCKET);
	d->pool = pool_new(config->cooldown_us, serves_of(config));
	if (!d->pool) {
		free(d);
		return NULL;
	}
	return d;
}

void ipamd_free(struct ipamd *d)
{
	if (!d)
		return;
	store_close(d->store);
	pool_free(d->pool);
	free(d->identity);
	free(d->early);
	free(d->suspects);
	free(d->udp_ports);
	free(d->services.addrs);
	free(d->nft_applied);
	free(d->nft_running);
	free(d->forward);
	free(d);
}

static int load_lease(const struct lease *lease, void *arg)
{
	struct ipamd *d = arg;
	struct lease *grown = realloc(d->early, (d->early_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	d->early = grown;
	d->early[d->early_count++] = *lease;
	return 0;
}

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_MAX  64U /* bytes; a UUID and its newline are 37 */

#define ASIDE_FMT "store=\"%s\" kept_as=\"%s\" cause=\"%s\""

static void report_aside(const char *path, const struct store_aside *aside)
{
	switch (aside->why) {
	case STORE_ASIDE_DAMAGED:
		log_error("lease store was damaged; set aside, leases are rebuilt from the kernel", ASIDE_FMT, path,
			  aside->path, aside->cause);
		return;
	case STORE_ASIDE_UNKNOWN:
		log_error("lease store is of a version that is not known here; set aside, leases are rebuilt from the "
			  "kernel",
			  ASIDE_FMT, path, aside->path, aside->cause);
		return;
	case STORE_ASIDE_BOOT:
		log_warn("lease store is of another boot, its pods are no more; set aside", ASIDE_FMT, path,
			 aside->path, aside->cause);
		return;
	case STORE_KEPT:
	case STORE_ASIDE_COUNT:
		return;
	}
}

int ipamd_open_store(struct ipamd *d, const char *path, struct err *err)
{
	_cleanup_free_ char *boot_id = NULL;
	struct store_aside aside;
	int rc = fs_read(BOOT_ID_PATH, BOOT_ID_MAX, &boot_id, NULL);

	if (rc < 0)
		return err_set_errno(err, ERR_INVALID, "ipamd", -rc, "read %s", BOOT_ID_PATH);
	boot_id[strcspn(boot_id, "\n")] = '\0';
	rc = store_open(path, boot_id, &d->store, &aside, err);
	report_aside(path, &aside);
	if (rc < 0)
		return -1;
	if (store_leases(d->store, load_lease, d, err) < 0)
		return err_wrap(err, "load leases of %s", path);
	log_info("lease store open", "store=\"%s\" leases=%u", path, d->early_count);
	return 0;
}
