// Modules that must exist for wa-js to attach, and that do nothing here yet. Each group says who looks for it.
'use strict';

const defineStub = (id, ...names) =>
  define(id, (exports) => {
    for (const name of names) exports[name] = () => undefined;
  });

define('WAWebUpdaterVersion', (exports) => {
  exports.SANITIZED_VERSION_STR = pageOptions.version;
});

define('WAWebBuildConstants', (exports) => {
  const [primary, secondary, tertiary] = pageOptions.version.split('.');
  Object.assign(exports, {
    VERSION_STR: pageOptions.version,
    VERSION_BASE: pageOptions.version,
    VERSION_PRIMARY: primary,
    VERSION_SECONDARY: secondary,
    VERSION_TERTIARY: tertiary,
    WINDOWS_BUILD: null,
  });
});

// wa-js writes to this one.
define('WAWebIsOfficialClient', (exports) => {
  exports.isOfficialClient = false;
});

define('WAWebLogoutReason', (exports) => {
  exports.getErrorCodeFromLogoutReason = (reason) => reason;
});

define('WAWebGetHistorySyncProgress', (exports) => {
  exports.getHistorySyncProgressModel = () => ({ realProgress: 100 });
});

define('WAMd5', (exports) => {
  exports.md5 = (text) => text;
});

// Collections that stay empty. wa-js takes the instance from the second name, and its class from the first.
const defineEmptyCollection = (id, name, proxyName) =>
  define(id, (exports) => {
    const Collection = use('WAWebCollection').default;
    const { BaseModel, defineModel } = use('WAWebBaseModel');
    class EmptyCollection extends Collection {
      static model = defineModel(proxyName, class extends BaseModel {});
    }
    exports[`${name}Impl`] = EmptyCollection;
    exports[name] = new EmptyCollection();
  });
defineEmptyCollection('WAWebBlocklistCollection', 'BlocklistCollection', 'blocklistEntry');
defineEmptyCollection('WAWebBotProfileCollection', 'BotProfileCollection', 'botProfileEntry');
defineEmptyCollection('WAWebBusinessProfileCollection', 'BusinessProfileCollection', 'businessProfileEntry');
defineEmptyCollection('WAWebOrderCollection', 'OrderCollection', 'orderEntry');
defineEmptyCollection('WAWebProfilePicThumbCollection', 'ProfilePicThumbCollection', 'profilePicThumbEntry');
defineEmptyCollection('WAWebReactionsCollection', 'ReactionsCollection', 'reactionsEntry');
defineEmptyCollection('WAWebTextStatusCollection', 'TextStatusCollection', 'textStatusEntry');

define('WAWebNewsletterCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class NewsletterCollectionImpl extends Collection {
    static model = use('WAWebChatModel').Chat;
  }
  exports.default = new NewsletterCollectionImpl();
});

define('WAWebCallCollection', (exports) => {
  const Collection = use('WAWebCollection').default;
  class CallCollectionImpl extends Collection {
    static model = use('WAWebCallModel').default;

    processIncomingCall(call) {
      return this.add(call)[0];
    }

    setActiveCall() {}
  }
  exports.CallCollectionImpl = CallCollectionImpl;
  exports.default = new CallCollectionImpl();
});

define('WAWebBlocklistModel', (exports) => {
  const { BaseModel, defineModel } = use('WAWebBaseModel');
  exports.default = defineModel('blocklist', class extends BaseModel {});
});

define('WAWebMediaInMemoryBlobCache', (exports) => {
  class InMemoryMediaBlobCacheImpl extends Map {
    put(hash, blob) {
      return this.set(hash, blob);
    }
  }
  exports.InMemoryMediaBlobCacheImpl = InMemoryMediaBlobCacheImpl;
  exports.InMemoryMediaBlobCache = new InMemoryMediaBlobCacheImpl();
});

define('WAWebMediaStore', (exports) => {
  const nothing = async () => null;
  const store = { get: nothing, put: nothing, del: nothing, clear: nothing, count: async () => 0, has: async () => false };
  exports.LruMediaStore = { ...store, keys: async () => [] };
});

define('WAWebChatSearchQuery', (exports) => {
  exports.SearchQuery = class {
    updateLabelQuery(filter) {
      this.filter = filter;
    }
  };
});

// What preparing a message asks for.
define('WAWebGetEphemeralFieldsMsgActionsUtils', (exports) => {
  exports.getEphemeralFields = () => ({});
});
define('WAWebMsgReply', (exports) => {
  exports.canReplyMsg = () => true;
});
define('WAWebMsgActionCapability', (exports) => {
  exports.canEditText = () => true;
  exports.canEditMsg = () => true;
  exports.canEditCaption = () => true;
});

// Functions that wa-js replaces when it is ready; they only have to be there.
defineStub('WAWebE2EProtoUtils', 'typeAttributeFromProtobuf');
defineStub('WAWebBackendJobsCommon', 'mediaTypeFromProtobuf', 'encodeMaybeMediaType');
defineStub('WAWebMsgGetters', 'getIsUnreadType', 'isUnreadTypeMsg');
defineStub('WAWebE2EProtoGenerator', 'createMsgProtobuf');
defineStub('WAWebSendMsgJob', 'encryptAndSendMsg');
defineStub('WAWebEncryptAndSendStatusMsg', 'encryptAndSendStatusMsg');
defineStub('WAWebABProps', 'getABPropConfigValue');
defineStub('WAWebPrimaryFeatures', 'primaryFeatureEnabled');
defineStub('WAWebHandleSingleMsgWorkerCompatible', 'handleSingleMsg');
defineStub('WAWebChatPinBridge', 'getNumChatsPinned');
defineStub('WAWebSendMsgCreateFanoutStanza', 'createFanoutMsgStanza');
defineStub('WAWebMediaDataUtils', 'processRawSticker', 'processRawAudioVideo');
defineStub('WAWebProcessRawMedia', 'processRawMedia');

// Previews of links. The real page asks WhatsApp; here a preview is made of the address itself. wa-js replaces
// `genMinimalLinkPreview` on its exports object, so it is called through there.
define('useWAWebLinkPreview', (exports) => {
  exports.findFirstWebLink = (text) => {
    const found = /https?:\/\/[^\s]+/.exec(text);
    if (!found) return undefined;
    const { host, protocol, pathname } = new URL(found[0]);
    const isHttp = protocol === 'http:' || protocol === 'https:';
    return { url: found[0], href: found[0], domain: host, path: pathname, scheme: protocol, isHttp, input: text, index: found.index };
  };
});
define('WAWebGenMinimalLinkPreviewChatAction', (exports) => {
  exports.genMinimalLinkPreview = async ({ url, domain }) => ({
    url,
    data: { title: domain, description: '', canonicalUrl: url, matchedText: url, richPreviewType: 0, doNotPlayInline: true },
  });
});
define('WAWebLinkPreviewChatAction', (exports) => {
  exports.fetchLinkPreview = (link) => use('WAWebGenMinimalLinkPreviewChatAction').genMinimalLinkPreview(link);
  exports.getLinkPreview = exports.fetchLinkPreview;
});
defineStub('WAWebChatSearchFilters', 'isFilterExcludedFromSearchTreatmentInInboxFlow');
defineStub('WAWebMediaGatingUtils', 'getUploadLimit');
defineStub('WAWebImageUtils', 'generateVideoThumbsAndDuration');
defineStub('WAWebMarkPlayedMsgAction', 'markPlayed', 'canMarkPlayed');
