"""From flavor, image properties and host facts to the wanted guest: pure functions, no I/O.

Public entry points:

* ``policy.HostPolicy.from_conf(conf)``: what nova.conf says about guests of this host
* ``checks.validate(server)``: refuse what cannot boot, before anything is made
* ``disks.plan_disks(...)`` -> ``DiskPlan``: local disks with names, buses, sizes and file systems
* ``devices.nic_model(...)``, ``devices.nic_queues(...)``: what to ask of a VIF driver
* ``plan.plan_domain(...)`` -> ``model.domain.DomainSpec``
* ``defaults.registered_details(...)``: the ``image_hw_*`` defaults saved with the server
* ``properties.Properties``: typed access to image properties and extra specs
"""
